"""The plan of a migration, on a model of the disk: it ends, goes on after any kill, and leaves what is damaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from meta.applied.older import Reason, Shape
from meta.names import AgentName
from reconciler.upkeep.migration.plan import (
    DEFERRED,
    AddRemote,
    Adopt,
    Convert,
    Enter,
    Give,
    Mark,
    MoveLogin,
    MoveTree,
    Plan,
    Restore,
    Seen,
    Step,
    Tidy,
    plan,
)

NAMES = [AgentName(name) for name in ("alice", "bob", "carol", "dave")]
FAULT = Reason("its repo is damaged", "restore it")
ORDER = (Restore, Convert, Tidy, MoveTree, MoveLogin, AddRemote, Enter, Adopt, Give, Mark)

olders = st.builds(
    Seen,
    agent=st.just(NAMES[0]),
    shape=st.just(Shape.OLDER),
    listed=st.booleans(),
    known=st.booleans(),
    container=st.booleans(),
    tree=st.booleans(),
    tree_to_move=st.just(False),
    login_to_move=st.booleans(),
    fault=st.sampled_from([None, None, None, FAULT]),
).flatmap(lambda one: st.booleans().map(lambda moves: replace(one, tree_to_move=moves and not one.tree)))
others = st.builds(Seen, agent=st.just(NAMES[0]), shape=st.just(Shape.CURRENT), known=st.booleans(), tree=st.booleans())
disks = st.lists(st.one_of(olders, olders, others), max_size=4).map(
    lambda agents: tuple(replace(one, agent=name) for name, one in zip(NAMES, agents, strict=False))
)


def act(disk: tuple[Seen, ...], step: Step, *, half: bool = False) -> tuple[Seen, ...]:
    """Return the disk after the step, or after half of it if a kill can cut it."""
    return tuple(_acted(one, step, half=half) if one.agent == step.agent else one for one in disk)


def _acted(one: Seen, step: Step, *, half: bool) -> Seen:
    match step:
        case Restore():
            assert one.shape is Shape.TAKEN
            return replace(one, shape=Shape.OLDER)
        case Convert() if half:
            return replace(one, shape=Shape.TAKEN)
        case Convert():
            assert one.shape is Shape.OLDER
            return replace(one, shape=Shape.UNTIDY, converted=True)
        case Tidy():
            assert one.converted
            return one if half else replace(one, shape=Shape.CURRENT)
        case MoveTree():
            return replace(one, tree=True, tree_to_move=False)
        case MoveLogin():
            return replace(one, login_to_move=False)
        case Enter():
            assert one.converted
            assert not one.known
            return replace(one, known=True)
        case Mark():
            return replace(one, done=True)
        case _:
            return one


def done(disk: tuple[Seen, ...], steps: Iterable[Step]) -> tuple[Seen, ...]:
    for step in steps:
        disk = act(disk, step)
    return disk


def complete(disk: tuple[Seen, ...], *, gives: bool = True) -> Plan:
    return plan(disk, deferred=False, gives=gives)


@given(disks, st.booleans())
def test_after_its_steps_a_second_plan_is_empty(disk: tuple[Seen, ...], gives: bool) -> None:
    after = done(disk, complete(disk, gives=gives).steps)
    assert complete(after, gives=gives).steps == ()


@given(disks, st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=3))
def test_after_any_kills_it_ends_as_without_a_kill(disk: tuple[Seen, ...], kills: list[tuple[int, bool]]) -> None:
    wanted, killed = done(disk, complete(disk).steps), disk
    for after, half in kills:
        steps = complete(killed).steps
        killed = done(killed, steps[:after])
        if half and after < len(steps):
            killed = act(killed, steps[after], half=True)
    assert done(killed, complete(killed).steps) == wanted


@given(disks)
def test_every_step_of_one_kind_comes_before_those_of_the_next(disk: tuple[Seen, ...]) -> None:
    kinds = [ORDER.index(type(step)) for step in complete(disk).steps]
    assert kinds == sorted(kinds)


@given(disks)
def test_a_damaged_agent_is_left_and_named_and_all_others_are_migrated(disk: tuple[Seen, ...]) -> None:
    made = complete(disk)
    faulty = {one.agent for one in disk if one.fault is not None}
    assert {agent for agent, _ in made.left} == faulty
    assert set(made.agents).isdisjoint(faulty)
    assert set(made.agents) == {one.agent for one in disk if one.shape is Shape.OLDER} - faulty


@given(disks)
def test_each_listed_agent_is_entered_once_and_gets_its_files_after_that(disk: tuple[Seen, ...]) -> None:
    steps = complete(disk).steps
    for one in disk:
        own = [type(step) for step in steps if step.agent == one.agent]
        entered = one.agent in complete(disk).agents and one.listed and not one.known
        assert own.count(Enter) == entered
        assert own.count(Give) == (one.agent in complete(disk).agents and one.listed)


@given(disks)
def test_without_uids_of_its_own_to_hand_out_hive_gives_nothing(disk: tuple[Seen, ...]) -> None:
    assert not [step for step in complete(disk, gives=False).steps if isinstance(step, Give)]


@given(disks, st.integers(0, 30))
def test_a_deferred_migration_only_puts_back_what_a_kill_took(disk: tuple[Seen, ...], after: int) -> None:
    steps = complete(disk).steps
    killed = done(disk, steps[:after])
    if after < len(steps):
        killed = act(killed, steps[after], half=True)
    made = plan(killed, deferred=True, gives=True)
    assert made.steps == tuple(Restore(one.agent) for one in killed if one.shape is Shape.TAKEN)
    begun = {one.agent for one in killed if one.shape is not Shape.CURRENT or (one.converted and not one.done)}
    assert dict(made.left) == dict.fromkeys(begun, DEFERRED)


def test_the_marker_keeps_an_agent_that_was_migrated_and_destroyed_from_coming_back() -> None:
    gone = Seen(NAMES[0], Shape.CURRENT, converted=True, done=True, known=False)
    assert complete((gone,)) == Plan()


def test_what_a_kill_took_goes_back_even_if_its_agent_cannot_be_migrated() -> None:
    taken = Seen(NAMES[0], Shape.TAKEN, fault=FAULT)
    assert complete((taken,)) == Plan((Restore(NAMES[0]),), ((NAMES[0], FAULT),))
