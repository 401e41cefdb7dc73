"""Rebuilding many agents: waves, the first failure ends it, whatever dies in between goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.names import HIVE, AgentName
from reconciler.plan import rollout
from reconciler.plan.rollout import Rollout, Seen

UP = Seen("running", rests=True, rebuilds=0, rebuilt=0)


def fleet(*names: str, **changes: object) -> dict[AgentName, Seen]:
    return {AgentName(name): replace(UP, **changes) for name in names}  # type: ignore[arg-type]


def begun(seen: Mapping[AgentName, Seen], *, idle: bool = False, only_outdated: bool = False) -> Rollout:
    return rollout.begin(seen, id="1", by="o", at=1, revision="new", idle=idle, only_outdated=only_outdated)


def on(made: Rollout, seen: Mapping[AgentName, Seen], wave: int = 2, now: int = 2) -> Rollout:
    """One look."""
    return rollout.next_wave(rollout.judge(made, seen), seen, wave, now)


def rebuilt(seen: Mapping[AgentName, Seen], *names: str) -> dict[AgentName, Seen]:
    """As it is when these came through one more rebuild."""
    up = {AgentName(name): seen[AgentName(name)] for name in names}
    return {
        **seen,
        **{name: replace(each, rebuilds=each.rebuilds + 1, rebuilt=each.rebuilds + 1) for name, each in up.items()},
    }


def test_the_manager_is_the_last_one() -> None:
    assert begun(fleet("manager", "zoe", "bob")).waiting == ("bob", "zoe", "manager")


def test_a_wave_is_begun_when_the_last_one_is_up_again() -> None:
    seen = fleet("a", "b", "c")
    made = on(begun(seen), seen)
    assert (made.begun, made.waiting) == ({"a": 1, "b": 1}, ("c",))
    seen = rebuilt(seen, "a")
    made = on(made, seen)
    assert (made.begun, made.waiting, made.done) == ({"b": 1}, ("c",), ("a",)), "b is still under way"
    seen = rebuilt(seen, "b")
    made = on(made, seen)
    assert (made.begun, made.waiting, made.done) == ({"c": 1}, (), ("a", "b"))
    assert not made.over
    made = on(made, rebuilt(seen, "c"))
    assert made.over
    assert made.failed is None


def test_the_first_that_does_not_come_up_ends_it_and_the_rest_is_named() -> None:
    seen = fleet("a", "b", "c", "d")
    made = on(begun(seen), seen)
    seen = rebuilt(seen, "a", "b")
    seen[AgentName("b")] = replace(seen[AgentName("b")], crashes=1, phase="backing-off", rests=False)
    made = on(made, seen)
    assert (made.failed, made.waiting, made.over) == ("b", ("c", "d"), True)
    assert "c, d" in made.describe()
    assert on(made, rebuilt(seen, "b")) == made, "it stays over"


def test_a_build_that_fails_again_and_again_ends_it() -> None:
    seen = fleet("a", "b")
    made = on(begun(seen), seen, 1)
    seen[AgentName("a")] = replace(UP, rebuilds=1, rests=False, trouble="agent.toml is missing")
    made = on(made, seen, 1)
    assert (made.failed, made.reason) == ("a", "agent.toml is missing")


def test_what_was_noted_and_not_asked_for_is_not_judged_yet() -> None:
    seen = fleet("a")
    made = on(begun(seen), seen)
    assert on(made, fleet("a", crashes=4, phase="backing-off")) == made


def test_an_agent_that_is_destroyed_meanwhile_is_no_failure() -> None:
    seen = fleet("a", "b", "c")
    made = on(begun(seen), seen, 1)
    made = on(made, fleet("c"), 1)
    assert (made.begun, made.done, made.failed) == ({"c": 1}, (), None)


def test_a_stopped_agent_is_done_when_it_is_built() -> None:
    seen = fleet("a", phase="stopped")
    made = on(begun(seen), seen)
    assert on(made, rebuilt(seen, "a")).done == ("a",)


def test_who_waits_for_a_person_is_left_out() -> None:
    made = begun({**fleet("a"), **fleet("b", phase="failed"), **fleet("c", phase="disagrees")})
    assert (made.waiting, made.left_out) == (("a",), ("b", "c"))


def test_what_hive_does_not_touch_ends_it_instead_of_holding_it_up() -> None:
    seen = fleet("a", "b")
    made = on(begun(seen), seen, 1)
    made = on(made, {**seen, AgentName("a"): replace(UP, rebuilds=1)}, 1)
    assert (made.failed, made.waiting) == ("a", ("b",))


def test_a_link_that_is_not_back_yet_is_no_failure() -> None:
    seen = fleet("a")
    made = on(begun(seen), seen)
    assert on(made, {AgentName("a"): replace(UP, rebuilds=1, rebuilt=1, phase="unknown")}) == made


def test_an_idle_rollout_begins_only_agents_between_turns() -> None:
    seen = {**fleet("a", between_turns=False), **fleet("b")}
    made = on(begun(seen, idle=True), seen)
    assert (made.begun, made.waiting) == ({"b": 1}, ("a",))
    seen = rebuilt(seen, "b")
    made = on(made, seen)
    assert (made.begun, made.waiting, made.over) == ({}, ("a",), False)
    assert not made.holds(None), "nobody waits for a turn that may last for hours"
    assert on(made, {**seen, AgentName("a"): UP}).begun == {"a": 1}


def test_only_what_another_hive_built_is_rebuilt() -> None:
    assert begun({**fleet("a"), **fleet("b", outdated=True)}, only_outdated=True).waiting == ("b",)


def test_off_never_begins_one_by_itself() -> None:
    assert not rollout.wanted(None, fleet("a", outdated=True), "new", "off")
    assert rollout.wanted(None, fleet("a", outdated=True), "new", "idle")
    assert not rollout.wanted(None, fleet("a"), "new", "all")


def test_what_failed_is_not_begun_again_by_itself_until_the_revision_changes() -> None:
    seen = fleet("a", outdated=True)
    failed = replace(begun(seen), failed=AgentName("a"), reason="x")
    assert not rollout.wanted(failed, seen, "new", "all")
    assert rollout.wanted(failed, seen, "newer", "all")


def test_what_is_still_outdated_after_its_rebuild_is_not_rebuilt_for_ever() -> None:
    seen = fleet("a", outdated=True)
    over = replace(begun(seen), waiting=(), done=(AgentName("a"),))
    assert not rollout.wanted(over, seen, "new", "all")
    assert rollout.wanted(over, {**seen, **fleet("b", outdated=True)}, "new", "all")


def test_a_rebuild_that_changed_nothing_is_no_rebuild() -> None:
    seen = fleet("a", outdated=True, built_with="old")
    made = on(begun(seen), seen)
    assert made.begun == {"a": 1}
    made = on(made, rebuilt(seen, "a"))
    assert (made.failed, made.reason) == ("a", "it is rebuilt, and still built with hive old")


def test_an_agent_that_was_rebuilt_with_the_hive_of_the_rollout_is_done_though_there_is_another_one_by_now() -> None:
    seen = fleet("a", outdated=True, built_with="new")
    made = on(on(begun(seen), seen), rebuilt(seen, "a"))
    assert (made.done, made.failed) == (("a",), None)


@pytest.mark.parametrize(("known", "next"), [({"rebuilt": 7}, 8), ({"launched": 5, "rebuilt": 2}, 6)])
def test_a_rebuild_that_was_done_before_meta_was_restored_is_not_taken_for_this_one(
    known: dict[str, int], next: int
) -> None:
    seen = fleet("a", **known)
    made = on(begun(seen), seen)
    assert made.begun == {"a": next}
    assert on(made, seen).begun == {"a": next}, "it is not asked for yet"
    asked = {AgentName("a"): replace(seen[AgentName("a")], rebuilds=next, rests=False)}
    assert on(made, asked).begun == {"a": next}
    assert on(made, {AgentName("a"): replace(UP, rebuilds=next, rebuilt=next)}).done == ("a",)


def test_the_manager_goes_alone_after_all_others() -> None:
    seen = fleet("a", "manager")
    made = on(begun(seen), seen, wave=5)
    assert (made.begun, made.waiting) == ({"a": 1}, ("manager",))
    assert on(made, rebuilt(seen, "a"), wave=5).begun == {"manager": 1}


def test_the_manager_does_not_take_the_turn_of_those_whose_link_is_not_back_yet() -> None:
    unknown = fleet("a", "b", phase="unknown", rests=False, between_turns=False)
    seen = {**unknown, **fleet("manager")}
    made = on(begun(seen, idle=True), seen, wave=5)
    assert (made.begun, made.waiting) == ({}, ("a", "b", "manager"))
    back = {**seen, **fleet("a")}
    assert on(made, back, wave=5).begun == {"a": 1}


@given(st.lists(st.sampled_from(["up", "crash", "trouble", "gone", "slow"]), min_size=1, max_size=9), st.integers(1, 4))
def test_it_always_ends_and_never_has_more_under_way_than_the_bound(fates: list[str], wave: int) -> None:
    names = [AgentName(f"a{at}") for at in range(len(fates))]
    kinds = dict(zip(names, fates, strict=True))
    seen = fleet(*names)
    made = begun(seen)
    for _ in range(3 * len(names) + 3):
        made = on(made, seen, wave)
        assert len(made.begun) <= wave
        if made.over:
            break
        for name in made.begun:
            match kinds[name]:
                case "up":
                    seen[name] = replace(UP, rebuilds=1, rebuilt=1)
                case "crash":
                    seen[name] = replace(UP, rebuilds=1, rebuilt=1, crashes=1)
                case "trouble":
                    seen[name] = replace(UP, rebuilds=1, trouble="t")
                case "gone":
                    del seen[name]
                case _:
                    seen[name] = replace(UP, rebuilds=1, rests=False)
                    kinds[name] = "up"
    assert made.over
    bad = {"crash", "trouble"} & set(fates)
    assert (made.failed is not None) is bool(bad)


def test_one_that_is_always_in_a_turn_does_not_hold_the_manager_back_for_ever() -> None:
    seen = {**fleet("manager"), **fleet("busy", between_turns=False)}
    made = begun(seen, idle=True)
    assert on(made, seen).begun == {}
    late = on(made, seen, now=1 + rollout.BUSY_PATIENCE)
    assert (late.begun, late.waiting) == ({"manager": 1}, ("busy",))


def test_one_that_is_always_in_a_turn_does_not_keep_the_others_from_the_next_hive() -> None:
    seen = {**fleet("alice", outdated=True), **fleet("busy", between_turns=False, outdated=True)}
    made = replace(begun(seen, idle=True), by=HIVE, waiting=(AgentName("busy"),))
    assert not rollout.wanted(made, seen, "new", "idle")
    assert rollout.wanted(made, seen, "newer", "idle")
    assert not rollout.wanted(replace(made, begun={AgentName("alice"): 1}), seen, "newer", "idle")
    assert not rollout.wanted(replace(made, by="operator"), seen, "newer", "idle")
