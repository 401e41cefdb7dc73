"""Which deploy `hive rollback` goes back to."""

from __future__ import annotations

import pytest

from meta.errors import Conflict, NotFound
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.agents.rollback import rollback_target

BOB = AgentName("bob")


def deploy(
    id: int,
    *,
    unproven: bool = False,
    state: TagState = TagState.DEPLOYED,
    kind: DeployKind = DeployKind.APPLY_COMMIT,
    sha: int | None = None,
    source: str = "",
) -> Deploy:
    return Deploy(
        agent=BOB,
        id=ProposalId(id),
        kind=kind,
        state=state,
        sha=Sha(f"{id if sha is None else sha:040x}"),
        base=None,
        commit_ref="",
        source=source,
        description="",
        requested_at=0,
        proposed_by="manager",
        unproven=unproven,
    )


def rollback(id: int, to: int, *, sha: int | None = None) -> Deploy:
    return deploy(id, kind=DeployKind.ROLLBACK, sha=sha, source=f"deployed/{to}")


def target(deploys: list[Deploy], to: int | None = None, proven: frozenset[int] = frozenset()) -> int:
    wanted = None if to is None else ProposalId(to)
    found = rollback_target(deploys, deploys[-1].id, BOB, wanted, frozenset(map(ProposalId, proven)))
    return found.id


def test_it_is_the_newest_older_one() -> None:
    assert target([deploy(1), deploy(2), deploy(3)]) == 2
    assert target([deploy(1), deploy(2, state=TagState.FAILED), deploy(3)]) == 1


def test_an_id_of_an_older_hive_is_no_target() -> None:
    deploys, foreign = [deploy(0), deploy(1), deploy(2), deploy(7)], frozenset({ProposalId(1), ProposalId(2)})
    assert rollback_target(deploys, ProposalId(7), BOB, None, frozenset(), foreign).id == 0
    with pytest.raises(Conflict, match="older hive"):
        rollback_target(deploys, ProposalId(7), BOB, ProposalId(2), frozenset(), foreign)


def test_one_that_was_never_started_is_passed_over_unless_it_was_proven_since() -> None:
    deploys = [deploy(1), deploy(2, unproven=True), deploy(3, unproven=True)]
    assert target(deploys) == 1
    assert target(deploys, proven=frozenset({2})) == 2
    assert target(deploys, to=2) == 2


def test_with_nothing_proven_it_is_still_the_one_before() -> None:
    assert target([deploy(1, unproven=True), deploy(2, unproven=True)]) == 1


def test_what_runs_already_and_what_never_was_are_told() -> None:
    with pytest.raises(Conflict, match="runs the files"):
        target([deploy(1), deploy(2)], to=2)
    with pytest.raises(NotFound, match="no deployed/7"):
        target([deploy(1), deploy(2)], to=7)
    with pytest.raises(NotFound, match="nothing older"):
        target([deploy(1)])


def test_a_second_rollback_goes_behind_the_first_ones_target() -> None:
    assert target([deploy(1), deploy(2), deploy(3), rollback(4, 2)]) == 1
    assert target([deploy(1), deploy(2), deploy(3), rollback(4, 2), deploy(5), rollback(6, 4)]) == 1


def test_after_a_new_deploy_a_rollback_goes_to_what_the_one_before_went_back_to() -> None:
    assert target([deploy(1), deploy(2), rollback(3, 1), deploy(4)]) == 3


def test_a_spawn_on_kept_repos_is_as_old_as_what_it_deploys() -> None:
    respawn = deploy(4, kind=DeployKind.SPAWN, sha=3)
    assert target([deploy(0), deploy(1), deploy(2), rollback(3, 1), respawn]) == 0


def test_a_rollback_of_an_older_hive_made_no_commit() -> None:
    assert target([deploy(0), deploy(1), deploy(2), rollback(3, 1, sha=1)]) == 0


def test_a_source_that_names_no_older_id_is_passed_over() -> None:
    assert target([deploy(1), rollback(2, 7)]) == 1
    assert target([deploy(1), rollback(2, 2)]) == 1
