"""Which branches of a push repo are dealt with: decided, each time that their commit was proposed. `main` stays."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from meta.applied.retention import dealt_with
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.proposed.tips import Tip, read_tips

DENIED, WAITS, OTHER = Sha("a" * 40), Sha("b" * 40), Sha("c" * 40)
DEPLOY = Deploy(
    agent=AgentName("alice"),
    id=ProposalId(1),
    kind=DeployKind.APPLY_COMMIT,
    state=TagState.DENIED,
    sha=DENIED,
    base=None,
    commit_ref=DENIED,
    source="proposed/push.git#topic",
    description="",
    requested_at=0,
    proposed_by="push",
    resolved_at=100,
)


def found(*deploys: Deploy, before: float = 200.0, at: float = 0.0, main: Sha | None = OTHER) -> list[str]:
    tips = {"main": DENIED, "topic": DENIED, "again": DENIED, "waits": WAITS, "other": OTHER}
    written = {name: Tip(name, sha, at=at) for name, sha in tips.items()}
    return [tip.branch for tip in dealt_with(written, deploys, before, main=main)]


def test_a_decided_branch_is_dealt_with_and_what_waits_or_was_never_proposed_is_not() -> None:
    waits = replace(DEPLOY, id=ProposalId(2), sha=WAITS, state=TagState.PROPOSAL, resolved_at=None)
    assert found(DEPLOY, waits) == ["topic"]
    assert found(DEPLOY, waits, before=100.0) == []


def test_a_commit_that_was_proposed_again_counts_from_the_last_decision() -> None:
    again = replace(DEPLOY, id=ProposalId(3), resolved_at=300)
    assert found(DEPLOY, again) == []
    assert found(DEPLOY, replace(again, state=TagState.PROPOSAL, resolved_at=None), before=9e9) == []
    assert found(DEPLOY, again, before=301.0) == ["topic"]


def test_a_branch_that_was_pushed_lately_stays_however_old_the_decision_is() -> None:
    assert found(DEPLOY, at=199.0) == ["topic"]
    assert found(DEPLOY, at=200.0) == []


def test_an_old_denied_commit_on_a_second_branch_waits_to_be_found_and_stays() -> None:
    assert found(DEPLOY) == ["topic"]
    assert found(DEPLOY, replace(DEPLOY, id=ProposalId(2), source="proposed/push.git#again")) == ["again", "topic"]


def test_a_branch_at_what_was_deployed_is_dealt_with_and_one_at_what_runs_is_not() -> None:
    deployed = replace(DEPLOY, state=TagState.DEPLOYED, source="seed")
    assert found(deployed) == ["again", "topic"]
    assert found(deployed, main=DENIED) == []


def test_a_push_of_an_old_commit_is_as_young_as_its_ref(tmp_path: Path) -> None:
    heads = tmp_path / "alice.git/refs/heads"
    heads.mkdir(parents=True)
    (heads / "topic").write_text(f"{DENIED}\n", encoding="ascii")
    os.utime(heads / "topic", (150, 150))
    tips = read_tips(tmp_path, "alice.git").tips
    assert dealt_with(tips, [DEPLOY], 150.0, main=None) == ()
    assert dealt_with(tips, [DEPLOY], 151.0, main=None) == (tips["topic"],)
