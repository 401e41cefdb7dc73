"""A turn over its limit: who ends it and when. And crashes that are the fault of a message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.model import TagState
from meta.wire.link import TurnState
from reconciler.plan import steps
from reconciler.plan.observed import Exit, LinkView, Transient
from tests.support.plan_model import CONFIG, NOW, Model, deploy, running

LIMIT = 3.0
GRACE = CONFIG.turn_grace


def in_turn(age: float, state: TurnState = TurnState.THINKING) -> Model:
    """An agent in a turn of this age, with a limit of LIMIT seconds."""
    model = running()
    model.set(link=replace(model.seen.link, turn=state, turn_since=model.now - age, turn_number=5), turn_limit=LIMIT)
    return model


def test_a_turn_within_its_limit_is_no_work_and_is_looked_at_again_when_it_ends() -> None:
    model = in_turn(1.0)
    decision = model.decide()
    assert decision.step == steps.Nothing()
    assert decision.conditions == ()
    assert decision.look_at == model.now - 1.0 + LIMIT


@pytest.mark.parametrize("state", [TurnState.THINKING, TurnState.COMPACTING])
def test_a_turn_over_its_limit_is_stuck_and_may_still_end_by_itself(state: TurnState) -> None:
    model = in_turn(LIMIT, state)
    decision = model.decide()
    assert decision.step == steps.Nothing()
    assert decision.phase == "running"
    assert decision.look_at == model.now + GRACE
    (condition,) = decision.conditions
    assert condition.startswith("stuck: its turn has taken 3 s, more than limits.turn_seconds = 3;")
    assert "`hive restart alice --now`" in condition


def test_after_the_grace_hive_ends_it_and_the_agent_runs_again() -> None:
    model = in_turn(LIMIT + GRACE)
    decision = model.decide()
    assert decision.step == steps.Stop(Transient.STUCK, "n1", 5)
    assert decision.conditions[0].startswith("stuck: ")
    assert model.settle().phase == "running"
    assert model.done[:2] == ["stop", "start"]
    assert model.seen.memo.crashes == 0


@pytest.mark.parametrize("link", [{"turn": TurnState.IDLE, "turn_since": None}, {"connected": False, "turn": None}])
def test_without_a_turn_nothing_is_stuck(link: dict[str, object]) -> None:
    model = in_turn(LIMIT + 2 * GRACE)
    model.set(link=replace(model.seen.link, **link))  # type: ignore[arg-type]
    assert not isinstance(model.decide().step, steps.Stop)


def test_a_limit_that_is_not_known_ends_no_turn() -> None:
    model = in_turn(1e6)
    model.set(turn_limit=None)
    assert model.decide().step == steps.Nothing()


def test_a_deploy_ends_a_long_turn_in_its_own_way() -> None:
    model = in_turn(LIMIT + 2 * GRACE)
    model.deploys[7] = deploy(7, TagState.BUILDING)
    model.settle()
    assert "drain" in model.done


# crashes
def crashed(crashes: int, excused: int) -> Model:
    model = running()
    launch = model.seen.container.launch
    assert launch is not None
    model.container(pid=None, exit=Exit(launch.nonce, NOW, code=1))
    model.set(link=LinkView())
    model.memo(crashes=crashes, excused=excused, counted_exit=launch.nonce, last_crash=NOW)
    return model


def test_a_crash_that_a_dead_letter_explains_does_not_count_towards_the_limit() -> None:
    limit = CONFIG.crash_limit
    assert crashed(limit, 0).decide().phase == "failed"
    assert isinstance(crashed(limit, limit).decide().step, steps.Start)
    assert isinstance(crashed(2 * limit, limit + 1).decide().step, steps.Start)
    held = crashed(2 * limit, limit).decide()
    assert held.phase == "failed"
    assert held.reason.startswith(f"ended by itself {2 * limit} times in a row, {limit} of them at a message")


def test_a_good_turn_after_a_dead_letter_ends_the_back_off_but_no_other() -> None:
    model = running()
    model.memo(crashes=3, excused=3, last_crash=NOW)
    assert model.decide().step == steps.Nothing()
    model.set(link=replace(model.seen.link, acked=True))
    assert model.decide().step == steps.ForgetCrashes()
    model.memo(excused=0)
    assert model.decide().step == steps.Nothing()
