"""What was seen last of each agent, and when it has to be looked at again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.desired.view import MetaView
from meta.model import Desired, RunEntry
from meta.names import AgentName, Sha
from reconciler.loop.last_seen import AgentSeen, Basis, LastSeen
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved

ALICE, BOB = AgentName("alice"), AgentName("bob")
META = MetaView(Desired(Sha("1" * 40), {}), {}, frozenset(), {})
BASIS = Basis(META, "r1", False)


@pytest.fixture
def last() -> LastSeen:
    """Alice and Bob, seen on BASIS."""
    seen = LastSeen()
    for agent in (ALICE, BOB):
        keep(seen, agent, seen.begin())
    return seen


def keep(last: LastSeen, agent: AgentName, begun: int, phase: str = "running") -> None:
    """Keep a look at the agent."""
    decision = Decision(steps.Nothing(), "as desired", phase)
    last.keep(agent, AgentSeen(AgentObserved(), (), decision, BASIS, begun))


def test_an_agent_without_a_change_is_not_stale(last: LastSeen) -> None:
    assert last.stale(BASIS, ()) == frozenset()


def test_an_agent_is_stale_until_a_look_that_began_after_the_change(last: LastSeen) -> None:
    begun = last.begin()
    last.touch(ALICE)
    keep(last, ALICE, begun)
    assert last.stale(BASIS, ()) == {ALICE}
    keep(last, ALICE, last.begin())
    assert last.stale(BASIS, ()) == frozenset()


def test_what_an_older_look_saw_does_not_replace_what_a_newer_one_saw(last: LastSeen) -> None:
    older, newer = last.begin(), last.begin()
    keep(last, ALICE, newer, "stopped")
    keep(last, ALICE, older, "running")
    assert last.all()[ALICE].decision.phase == "stopped"


def test_an_agent_is_stale_while_a_step_is_done_on_it(last: LastSeen) -> None:
    assert last.stale(BASIS, {BOB: steps.Nothing()}) == {BOB}


def test_a_commit_of_meta_makes_the_agents_stale_of_which_it_says_something_else(last: LastSeen) -> None:
    desired = replace(META.desired, head=Sha("2" * 40), run={BOB: RunEntry(paused=True)})
    assert last.stale(replace(BASIS, meta=replace(META, desired=desired)), ()) == {BOB}


@pytest.mark.parametrize("other", [replace(BASIS, revision="r2"), replace(BASIS, goes_down=True)])
def test_another_revision_and_the_end_of_the_hive_make_all_agents_stale(last: LastSeen, other: Basis) -> None:
    assert last.stale(other, ()) == {ALICE, BOB}


def test_an_agent_that_a_whole_look_did_not_see_is_forgotten(last: LastSeen) -> None:
    last.keep_only([ALICE], last.begin())
    assert list(last.all()) == [ALICE]


def test_an_agent_that_came_up_during_a_whole_look_is_not_forgotten(last: LastSeen) -> None:
    begun, new = last.begin(), AgentName("new")
    last.touch(new)
    last.keep_only([ALICE, BOB], begun)
    assert last.stale(BASIS, ()) == {new}
