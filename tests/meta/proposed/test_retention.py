"""Which branches of a push repo are dealt with: decided, each time that their commit was proposed. `main` stays."""

from __future__ import annotations

from dataclasses import replace

from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.proposed.retention import dealt_with
from meta.proposed.tips import Tip

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


def found(*deploys: Deploy, before: float = 200.0) -> list[str]:
    tips = {"main": DENIED, "topic": DENIED, "waits": WAITS, "other": OTHER}
    return [tip.branch for tip in dealt_with({name: Tip(name, sha) for name, sha in tips.items()}, deploys, before)]


def test_a_decided_branch_is_dealt_with_and_what_waits_or_was_never_proposed_is_not() -> None:
    waits = replace(DEPLOY, id=ProposalId(2), sha=WAITS, state=TagState.PROPOSAL, resolved_at=None)
    assert found(DEPLOY, waits) == ["topic"]
    assert found(DEPLOY, waits, before=100.0) == []


def test_a_commit_that_was_proposed_again_counts_from_the_last_decision() -> None:
    again = replace(DEPLOY, id=ProposalId(3), resolved_at=300)
    assert found(DEPLOY, again) == []
    assert found(DEPLOY, replace(again, state=TagState.PROPOSAL, resolved_at=None), before=9e9) == []
    assert found(DEPLOY, again, before=301.0) == ["topic"]
