"""How many proposals of one agent may wait, and how many may be superseded in a day."""

from __future__ import annotations

import pytest

from meta.applied.source import DECLARED, Source
from meta.errors import Conflict
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.proposals.limits import PENDING_MOST, REPLACED_MOST, check

ALICE = AgentName("alice")
NOW = 1_000_000
MAIN = "proposed/push.git#main"


def deploy(id: int, source: str, reason: str | None = None, resolved_at: int | None = None) -> Deploy:
    return Deploy(
        agent=ALICE,
        id=ProposalId(id),
        kind=DeployKind.APPLY_COMMIT,
        state=TagState.DENIED if reason else TagState.PROPOSAL,
        sha=Sha("a" * 40),
        base=None,
        commit_ref="",
        source=source,
        description="",
        requested_at=0,
        proposed_by="push",
        reason=reason,
        resolved_at=resolved_at,
    )


@pytest.mark.parametrize("source", [None, "proposed/config", "proposed/push.git#another"])
def test_a_proposal_is_rejected_while_too_many_wait(source: str | None) -> None:
    deploys = [deploy(id, "proposed/config") for id in range(1, PENDING_MOST)]
    parsed = Source.parse(source) if source is not None else None
    check(ALICE, deploys, NOW, parsed)
    with pytest.raises(Conflict, match=f"alice has {PENDING_MOST} proposals that wait") as caught:
        check(ALICE, [*deploys, deploy(PENDING_MOST, MAIN)], NOW, parsed)
    assert "hive deny 1" in caught.value.hint


def test_a_proposal_that_supersedes_one_needs_no_room() -> None:
    deploys = [deploy(id, "proposed/config") for id in range(1, PENDING_MOST)]
    check(ALICE, [*deploys, deploy(PENDING_MOST, MAIN)], NOW, Source.parse(MAIN))


def test_pushes_do_not_hold_back_what_the_host_declares() -> None:
    waiting = [deploy(id, MAIN) for id in range(1, PENDING_MOST + 1)]
    replaced = [deploy(id, MAIN, f"superseded by {id + 1}", NOW - 60) for id in range(1, REPLACED_MOST + 1)]
    check(ALICE, waiting, NOW, DECLARED)
    check(ALICE, replaced, NOW, DECLARED)


def test_a_branch_is_rejected_after_too_many_superseded_ones_in_a_day() -> None:
    deploys = [deploy(id, MAIN, f"superseded by {id + 1}", NOW - 60) for id in range(1, REPLACED_MOST + 1)]
    with pytest.raises(Conflict, match="replaced by newer ones within a day"):
        check(ALICE, deploys, NOW, Source.parse(MAIN))
    check(ALICE, deploys, NOW, Source.parse("proposed/config"))
    check(ALICE, deploys, NOW + 86_400, Source.parse(MAIN))
