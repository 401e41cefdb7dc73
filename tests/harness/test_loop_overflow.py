"""The loop: turns for which the conversation is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.runtimes.base import Compacted, CompactionFailed, Ending, Sink, Tokens, TurnOutcome, TurnRequest
from meta.wire.link import TurnState
from meta.wire.live import Compaction, ToolCall, TurnEnd, Usage
from tests.harness.inside import Inside, requeues
from tests.support.scripted_runtime import OK, Step, ends

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


async def test_too_long_a_conversation_is_compacted_once_and_the_turn_done_again(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.compacted = Compacted(200_000, 20_000, session="s2")
    inside.runtime.steps = [ends(Ending.OVERFLOW, "too long", session="s1")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert inside.runtime.compactions == ["s1"]
    assert inside.runtime.requests[1].session == "s2"
    (event,) = inside.events.of(Compaction)
    assert (event.trigger, event.tokens_before, event.tokens_after) == ("overflow", 200_000, 20_000)
    states = [state.state for state in hive.states if state.probe is None]
    assert states == [TurnState.THINKING, TurnState.COMPACTING, TurnState.THINKING, TurnState.IDLE]


async def test_what_is_too_long_even_then_is_a_failed_turn(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.compacted = Compacted()
    inside.runtime.steps = [ends(Ending.OVERFLOW, "too long", session="s1")] * 12
    await hive.post("operator", "huge")
    await hive.post("operator", "small")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    assert (requeues(hive), len(inside.runtime.compactions)) == (3, 3)


async def test_a_conversation_that_cannot_be_compacted_is_replaced_and_no_message_is_lost(
    inside: Inside, hive: FakeHive
) -> None:
    async def full(request: TurnRequest, _sink: Sink) -> TurnOutcome:
        ending = Ending.OVERFLOW if request.session == "s1" else Ending.OK
        return TurnOutcome(ending, "too long", session=request.session or "s2")

    inside.runtime.steps = [OK] + [full] * 20
    for body in ("zero", "one", "two", "three"):
        await hive.post("operator", body)
    async with inside.start():
        await hive.until(lambda: hive.acks == 4)
    assert (requeues(hive), hive.dead) == (0, [])
    assert [request.session for request in inside.runtime.requests] == [None, "s1", "s1", None, "s2", "s2"]
    (event,) = inside.events.of(Compaction)
    assert (event.trigger, "new conversation" in event.note) == ("overflow", True)


@pytest.mark.parametrize("ending", [Ending.PARKED, Ending.NEEDS_LOGIN])
async def test_an_outage_in_the_compaction_keeps_the_conversation_and_counts_no_failed_turn(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch, ending: Ending
) -> None:
    async def fail(_session: str | None, _sink: Sink) -> Compacted | None:
        raise CompactionFailed("scripted could not compact: overloaded", TurnOutcome(ending, "overloaded"))

    monkeypatch.setattr("harness.retry.FIRST_DELAY", 0.01)
    monkeypatch.setattr("harness.loop.LOGIN_LOOK_SECONDS", 0.01)
    monkeypatch.setattr("harness.loop.LOGIN_RETRY_SECONDS", 0.01)
    inside.runtime.compact = fail  # type: ignore[assignment, method-assign]
    inside.runtime.steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1"), OK]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    assert requeues(hive) == 0
    assert inside.events.of(TurnEnd)[1].ending == ending
    assert [request.session for request in inside.runtime.requests] == [None, "s1", "s1"]


async def test_an_outage_while_notes_are_written_keeps_the_conversation(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.retry.FIRST_DELAY", 0.01)
    inside.runtime.steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1"), ends(Ending.PARKED, "down")]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    assert requeues(hive) == 0
    assert [request.session for request in inside.runtime.requests] == [None, "s1", "s1", "s1"]


async def test_a_turn_that_is_done_again_after_a_compaction_says_that_it_may_be_handled(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.compacted = Compacted(10, 5, "s1")
    inside.runtime.steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1")]
    await hive.post("operator", "zero")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
        await hive.post("operator", "first")
        await hive.until(lambda: hive.acks == 2)
    assert ["may already be handled" in request.prompt for request in inside.runtime.requests] == [False, False, True]


def _costs(ending: Ending, input: int, dollars: float, tool: str) -> Step:
    async def step(_request: TurnRequest, sink: Sink) -> TurnOutcome:
        sink.line([ToolCall(id=tool, name=tool)], {})
        return TurnOutcome(ending, "too long", session="s1", tokens=Tokens(input, 5, None, dollars))

    return step


async def test_a_turn_costs_what_its_attempts_and_the_compaction_between_them_cost(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.compacted = Compacted(200_000, 20_000, "s1", tokens=Tokens(200_000, 100, None, 2.0))
    inside.runtime.steps = [_costs(Ending.OVERFLOW, 1_000_000, 9.0, "Bash"), _costs(Ending.OK, 10, 0.5, "Read")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    (usage,) = inside.events.of(Usage)
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (1_200_010, 110, None)
    assert (usage.cost_dollars, usage.tools) == (11.5, {"Bash": 1, "Read": 1})


async def test_a_compaction_that_fails_is_in_the_statistics_of_the_turn(inside: Inside, hive: FakeHive) -> None:
    async def fail(_session: str | None, _sink: Sink) -> Compacted | None:
        outcome = TurnOutcome(Ending.OVERFLOW, "too long", tokens=Tokens(7, 1))
        raise CompactionFailed("scripted could not compact", outcome)

    inside.runtime.compact = fail  # type: ignore[assignment, method-assign]
    notes = _costs(Ending.OK, 100, 1.0, "Write")
    inside.runtime.steps = [_costs(Ending.OVERFLOW, 1000, 9.0, "Bash"), notes, _costs(Ending.OK, 10, 0.5, "Read")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    (usage,) = inside.events.of(Usage)
    assert (usage.input_tokens, usage.cost_dollars) == (1117, 10.5)
