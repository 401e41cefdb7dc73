"""The table of turn states, and what it reports."""

from __future__ import annotations

from pathlib import Path

from harness.gate import Gate, Status
from harness.hold import PAUSE_FILE, PauseMemory, Wait
from harness.stop import Cause
from meta.wire.link import Hold, TurnState

PARKED = Wait(TurnState.PARKED, "429", 500.0)


def state_of(gate: Gate) -> TurnState:
    return gate.status.state


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_reason_to_wait_is_a_state_and_what_a_person_must_end_comes_first() -> None:
    gate = Gate()
    assert state_of(gate) is TurnState.IDLE
    gate.wait(PARKED)
    assert (gate.status.state, gate.status.reason, gate.status.until) == (TurnState.PARKED, "429", 500.0)
    gate.hold(Hold(over_budget=True, until=900.0, reason="10 turns a day"))
    assert (gate.status.state, gate.status.until) == (TurnState.OVER_BUDGET, 900.0)
    gate.hold(Hold(paused=True, over_budget=True))
    assert (gate.status.state, gate.status.until) == (TurnState.PAUSED, None)
    gate.hold(Hold())
    assert state_of(gate) is TurnState.PARKED


def test_a_state_that_is_set_again_keeps_its_since_and_is_not_reported() -> None:
    clock = Clock()
    gate = Gate(clock=clock)
    seen: list[Status] = []
    gate.listen(lambda: seen.append(gate.status))
    gate.hold(Hold(paused=True))
    clock.now = 200.0
    gate.hold(Hold(paused=True))
    assert [status.since for status in seen] == [100.0]
    gate.hold(Hold(paused=True, reason="lunch"))
    assert [(status.since, status.reason) for status in seen] == [(100.0, ""), (100.0, "lunch")]


def test_a_drain_in_between_does_not_change_since_when_an_agent_waits() -> None:
    clock = Clock()
    gate = Gate(clock=clock)
    gate.wait(PARKED)
    clock.now = 200.0
    gate.drain()
    gate.rest()
    assert (gate.status.state, gate.status.since) == (TurnState.DRAINED, 200.0)
    gate.resume()
    assert (gate.status.state, gate.status.since) == (TurnState.PARKED, 100.0)


def test_a_wait_for_a_person_is_reported_until_it_ends_and_not_while_another_state_hides_it() -> None:
    gate = Gate()
    reported: list[tuple[TurnState, bool]] = []
    gate.listen(lambda: reported.append((gate.status.state, gate.status.line().person)))
    gate.wait(Wait(TurnState.PARKED, "404", 500.0, person=True))
    gate.hold(Hold(paused=True))
    gate.hold(Hold())
    gate.wait(PARKED)
    assert reported == [
        (TurnState.PARKED, True),
        (TurnState.PAUSED, False),
        (TurnState.PARKED, True),
        (TurnState.PARKED, False),
    ]


def test_a_turn_that_ends_parked_is_never_idle_in_between() -> None:
    gate = Gate()
    seen: list[TurnState] = []
    gate.listen(lambda: seen.append(gate.status.state))
    gate.begin(TurnState.THINKING)
    gate.become(TurnState.COMPACTING)
    gate.end(PARKED)
    assert seen == [TurnState.THINKING, TurnState.COMPACTING, TurnState.PARKED]
    assert gate.status.number == 1


def test_a_pause_stops_the_turn_in_flight_and_the_budget_does_not() -> None:
    gate = Gate()
    stop = gate.begin(TurnState.THINKING)
    gate.hold(Hold(over_budget=True))
    assert not stop.cause
    gate.hold(Hold(paused=True, over_budget=True))
    assert (stop.cause, stop.hard) == (Cause.PAUSE, False)
    assert gate.status.state is TurnState.THINKING


def test_a_pause_is_remembered_for_a_start_without_a_daemon(tmp_path: Path) -> None:
    Gate(PauseMemory(tmp_path)).hold(Hold(paused=True, reason="lunch"))
    gate = Gate(PauseMemory(tmp_path))
    assert (gate.status.state, gate.status.reason) == (TurnState.PAUSED, "lunch")
    gate.hold(Hold(over_budget=True))
    assert Gate(PauseMemory(tmp_path)).status.state is TurnState.IDLE


def test_a_pause_holds_although_it_cannot_be_remembered(tmp_path: Path) -> None:
    gate = Gate(PauseMemory(tmp_path / "missing"))
    gate.hold(Hold(paused=True))
    assert gate.status.state is TurnState.PAUSED
    (tmp_path / PAUSE_FILE).mkdir()
    assert Gate(PauseMemory(tmp_path)).status.state is TurnState.IDLE


def test_a_reason_is_one_short_line() -> None:
    gate = Gate()
    gate.wait(Wait(TurnState.PARKED, "a\nb\x1b[31m" + "x" * 1000, None))
    assert gate.status.reason.startswith("a b")
    assert "\x1b" not in gate.status.line().reason
    assert len(gate.status.reason) == 500
