"""Which deploy `hive rollback` goes back to."""

from __future__ import annotations

import pytest

from meta.errors import Conflict, NotFound
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.agents.rollback import rollback_target

BOB = AgentName("bob")


def deploy(id: int, *, unproven: bool = False, state: TagState = TagState.DEPLOYED) -> Deploy:
    return Deploy(
        agent=BOB,
        id=ProposalId(id),
        kind=DeployKind.APPLY_COMMIT,
        state=state,
        sha=Sha(f"{id:040x}"),
        base=None,
        commit_ref="",
        source="",
        description="",
        requested_at=0,
        proposed_by="manager",
        unproven=unproven,
    )


def target(deploys: list[Deploy], to: int | None = None, proven: frozenset[int] = frozenset()) -> int:
    wanted = None if to is None else ProposalId(to)
    found = rollback_target(deploys, deploys[-1].sha, BOB, wanted, frozenset(map(ProposalId, proven)))
    return found.id


def test_it_is_the_newest_older_one() -> None:
    assert target([deploy(1), deploy(2), deploy(3)]) == 2
    assert target([deploy(1), deploy(2, state=TagState.FAILED), deploy(3)]) == 1


def test_one_that_was_never_started_is_passed_over_unless_it_was_proven_since() -> None:
    deploys = [deploy(1), deploy(2, unproven=True), deploy(3, unproven=True)]
    assert target(deploys) == 1
    assert target(deploys, proven=frozenset({2})) == 2
    assert target(deploys, to=2) == 2


def test_with_nothing_proven_it_is_still_the_one_before() -> None:
    assert target([deploy(1, unproven=True), deploy(2, unproven=True)]) == 1


def test_what_runs_already_and_what_never_was_are_told() -> None:
    with pytest.raises(Conflict, match="runs the commit"):
        target([deploy(1), deploy(2)], to=2)
    with pytest.raises(NotFound, match="no deployed/7"):
        target([deploy(1), deploy(2)], to=7)
    with pytest.raises(NotFound, match="nothing older"):
        target([deploy(1)])
