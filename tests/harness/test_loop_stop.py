"""The loop: turns that are ended from outside, and what keeps the next one from beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.runtimes.base import Ending, Sink, TurnOutcome, TurnRequest
from meta.wire.link import Cancel, DownLine, Drain, Hold, Resume, TurnState, Verb
from meta.wire.live import Note
from tests.harness.inside import Inside, poll, requeues
from tests.support.scripted_runtime import OK, hangs

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


async def test_a_pause_stops_the_turn_and_the_message_comes_again_after_it(inside: Inside, hive: FakeHive) -> None:
    async def until_interrupted(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await inside.runtime.interrupted.wait()
        return TurnOutcome(Ending.CANCELLED, "interrupted", session="s1")

    inside.runtime.steps = [until_interrupted]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.THINKING)
        await hive.order(Hold(paused=True, reason="lunch"))
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        assert hive.states[-1].reason == "lunch"
        assert (hive.releases, hive.waiting, requeues(hive)) == ([1], 1, 0)
        await hive.order(Drain(deadline_seconds=9))
        await hive.until(lambda: hive.turn is TurnState.DRAINED)
        await hive.order(Resume())
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        await hive.order(Hold())
        await hive.until(lambda: hive.acks == 1)
    assert inside.runtime.requests[1].session == "s1"
    assert inside.runtime.closes == 2  # in the pause, and at the end


async def test_a_cli_that_ignores_the_interrupt_is_ended(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.turn.STOP_SECONDS", 0.05)
    inside.runtime.steps = [hangs]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.THINKING)
        await hive.order(Hold(paused=True))
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        assert inside.runtime.interrupts == 1
        assert inside.runtime.closes
        assert hive.releases == [1]


async def test_a_paused_agent_stays_paused_over_a_start_and_hives_word_ends_it(inside: Inside, hive: FakeHive) -> None:
    hive.hold = None
    async with inside.start():
        await hive.order(Hold(paused=True))
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
    hive.hold = Hold(paused=True)
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: len(hive.hellos) == 2)
        assert hive.hellos[1].state is TurnState.PAUSED
        await hive.order(Hold())
        await hive.until(lambda: hive.acks == 1)


async def test_a_hive_that_knows_no_pause_ends_one_that_is_remembered(inside: Inside, hive: FakeHive) -> None:
    hive.hold = Hold(paused=True)
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
    hive.hold = None
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert hive.hellos[1].state is TurnState.PAUSED
    async with inside.start():
        await hive.until(lambda: len(hive.hellos) == 3)
    assert hive.hellos[2].state is TurnState.IDLE


async def test_a_used_up_budget_lets_the_turn_end_and_keeps_the_next_one_back(inside: Inside, hive: FakeHive) -> None:
    async def until_held(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await hive.order(Hold(over_budget=True, until=4e9, reason="10 turns a day"))
        return await OK(request, sink)

    inside.runtime.steps = [until_held]
    await hive.post("operator", "work")
    await hive.post("operator", "more")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.OVER_BUDGET)
        assert (hive.acks, hive.waiting, len(inside.runtime.requests)) == (1, 1, 1)
        assert (hive.states[-1].until, hive.states[-1].reason) == (4e9, "10 turns a day")
        await hive.order(Hold())
        await hive.until(lambda: hive.acks == 2)


@pytest.mark.parametrize(
    ("order", "state"),
    [
        (Hold(paused=True), TurnState.PAUSED),
        (Hold(over_budget=True), TurnState.OVER_BUDGET),
        (Drain(deadline_seconds=5), TurnState.DRAINED),
    ],
)
async def test_a_cli_that_may_take_no_turn_has_no_process_that_could_begin_one(
    inside: Inside, hive: FakeHive, order: DownLine, state: TurnState
) -> None:
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert inside.runtime.closes == 0
        await hive.order(order)
        await poll(lambda: inside.runtime.closes == 1)
        await hive.until(lambda: hive.turn is state)


async def test_a_message_that_arrives_while_the_agent_is_held_is_given_back_unseen(
    inside: Inside, hive: FakeHive
) -> None:
    async with inside.start():
        await hive.until(lambda: hive.calls and hive.turn is TurnState.IDLE)
        await hive.order(Hold(paused=True))
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        await hive.post("operator", "work")
        await hive.until(lambda: hive.releases)
        assert (hive.waiting, inside.runtime.requests) == (1, [])


async def test_the_operators_cancel_ends_the_turn_and_its_message_does_not_run_again(
    inside: Inside, hive: FakeHive
) -> None:
    async def until_interrupted(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await inside.runtime.interrupted.wait()
        return TurnOutcome(Ending.CANCELLED)

    inside.runtime.steps = [until_interrupted]
    await hive.post("operator", "work")
    async with inside.start():
        assert not (await hive.control(Verb.CANCEL)).ok
        await poll(lambda: inside.runtime.requests)
        done = await hive.control(Verb.CANCEL)
        assert (done.ok, "counts as done" in done.text) == (True, True)
        assert (hive.acks, hive.waiting) == (1, 0)
    assert any("cancelled by the operator" in note.text for note in inside.events.of(Note))


async def test_the_cancel_of_hive_for_a_turn_over_its_limit_counts_as_before(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.steps = [hangs]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.turn is TurnState.THINKING)
        await hive.order(Cancel(turn=1))
        await hive.until(lambda: hive.acks == 1)
    assert (requeues(hive), hive.releases, inside.runtime.interrupts) == (1, [], 0)
