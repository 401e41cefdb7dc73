"""The loop: compactions between turns, and new conversations."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from harness.runtimes.base import Compacted, CompactionFailed, Ending, Sink, Tokens, TurnOutcome, TurnRequest
from meta.errors import HiveError, TransientError
from meta.wire.link import Drain, Hold, Resume, TurnState, Verb
from meta.wire.live import Compaction, Note, Usage
from tests.harness.inside import Inside, poll
from tests.support.scripted_runtime import OK, ScriptedRuntime, Step, ends

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


async def test_a_full_context_is_compacted_after_the_turn(inside: Inside, hive: FakeHive) -> None:
    async def fill(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        return TurnOutcome(Ending.OK, session="s1", tokens=Tokens(context=170_000, window=200_000))

    inside.runtime.compacted = Compacted(170_000, 9_000)
    inside.runtime.steps = [fill]
    await hive.post("operator", "work")
    async with inside.start():
        await poll(lambda: inside.runtime.compactions)
        assert hive.acks == 1
        await hive.until(lambda: hive.turn is TurnState.IDLE)
    assert [event.trigger for event in inside.events.of(Compaction)] == ["watermark"]


async def test_hive_learns_how_full_the_context_is_after_a_turn_and_a_compaction_and_that_a_new_one_is_empty(
    inside: Inside, hive: FakeHive
) -> None:
    async def fill(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        return TurnOutcome(Ending.OK, session="s1", tokens=Tokens(context=124_000, window=200_000))

    def last() -> tuple[int | None, int | None]:
        return hive.states[-1].context, hive.states[-1].window

    inside.runtime.compacted = Compacted(124_000, 9_000)
    inside.runtime.steps = [fill]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert last() == (124_000, 200_000)
        assert (await hive.control(Verb.COMPACT)).ok
        await hive.until(lambda: last() == (9_000, 200_000))
        assert (await hive.control(Verb.NEW_SESSION)).ok
        await hive.until(lambda: last() == (None, None))


@pytest.mark.parametrize("reported", [165_000, None])
async def test_a_conversation_that_a_compaction_does_not_make_shorter_is_not_compacted_after_every_turn(
    inside: Inside, hive: FakeHive, reported: int | None
) -> None:
    def filled(context: int) -> Step:
        async def step(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
            return TurnOutcome(Ending.OK, session="s1", tokens=Tokens(context=context, window=200_000))

        return step

    inside.runtime.compacted = Compacted(170_000, reported)
    inside.runtime.steps = [filled(size * 1000) for size in (170, 171, 172, 180, 191, 170, 175)]
    for number in range(7):
        await hive.post("operator", f"message {number}")
    async with inside.start():
        await hive.until(lambda: hive.acks == 7 and hive.turn is TurnState.IDLE)
    assert len(inside.runtime.compactions) == 2


async def test_a_compaction_in_which_the_adapter_fails_ends_no_harness(inside: Inside, hive: FakeHive) -> None:
    class Broken(ScriptedRuntime):
        @override
        async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
            raise OSError(24, "Too many open files")

    inside.runtime = Broken()
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        done = await hive.control(Verb.COMPACT)
        assert (done.ok, "OSError" in done.text) == (False, True)
        await hive.post("operator", "more")
        await hive.until(lambda: hive.acks == 2)


async def test_a_cli_that_is_silent_in_a_compaction_is_ended(inside: Inside, hive: FakeHive) -> None:
    class Silent(ScriptedRuntime):
        @override
        async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
            await asyncio.Event().wait()
            raise AssertionError

    inside.runtime = Silent()
    limits = inside.settings.limits.model_copy(update={"silence_seconds": 0.05})
    inside.settings = inside.settings.model_copy(update={"limits": limits})
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        done = await hive.control(Verb.COMPACT)
    assert (done.ok, "the compaction was ended" in done.text) == (False, True)


async def test_a_runtime_without_compaction_goes_on_from_the_agents_own_notes(inside: Inside, hive: FakeHive) -> None:
    async def write_notes(request: TurnRequest, _sink: Sink) -> TurnOutcome:
        assert "notes.md" in request.prompt
        (inside.base / "state" / "notes.md").write_text("the test is fixed")
        return TurnOutcome(Ending.OK, session="s1")

    inside.runtime.capabilities = replace(inside.runtime.capabilities, compact=False)
    inside.runtime.steps = [ends(Ending.OVERFLOW, "too long", session="s1"), write_notes, OK]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    _, asked, again = inside.runtime.requests
    assert (asked.session, again.session) == ("s1", None)
    assert "the test is fixed" in again.prompt
    (event,) = inside.events.of(Compaction)
    assert "its notes" in event.note


@pytest.mark.parametrize(
    "error",
    [
        CompactionFailed("could not compact", TurnOutcome(Ending.PARKED, "overloaded")),
        CompactionFailed("could not compact", TurnOutcome(Ending.REFUSED, "overloaded")),
        TransientError("overloaded"),
    ],
)
async def test_a_compaction_that_failed_is_an_error_for_the_operator(
    inside: Inside, hive: FakeHive, error: HiveError
) -> None:
    async def fail(_session: str | None, _sink: Sink) -> Compacted | None:
        raise error

    async with inside.start():
        await hive.post("bob", "hello")
        await hive.until(lambda: hive.acks == 1)
        inside.runtime.compact = fail  # type: ignore[assignment, method-assign]
        done = await hive.control(Verb.COMPACT)
    assert (done.ok, done.text) == (False, "the conversation is not compacted: overloaded; try again later")


async def test_the_operator_compacts_begins_anew_and_sets_the_model(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.compacted = Compacted(100, 10)
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert (await hive.control(Verb.COMPACT)).text == "compacted: 100 -> 10 tokens"
        assert (await hive.control(Verb.MODEL, "opus")).ok
        assert (hive.abouts[-1].model, hive.abouts[-1].override) == ("opus", "opus")
        wrong = await hive.control(Verb.MODEL, "no such\nmodel")
        assert (wrong.ok, "not a name of a model" in wrong.text) == (False, True)
        assert (await hive.control(Verb.NEW_SESSION)).ok
        assert not (await hive.control(Verb.LOGIN)).ok
        await hive.post("operator", "more")
        await hive.until(lambda: hive.acks == 2)
    assert (inside.runtime.requests[1].session, inside.runtime.requests[1].model) == (None, "opus")
    assert (inside.base / "state" / "hyperhive-model").read_text() == "opus\n"


@pytest.mark.parametrize(
    ("compacted", "text"),
    [
        (Compacted(), "compacted"),
        (Compacted(100), "compacted: 100 tokens before"),
        (Compacted(None, 10), "compacted: 10 tokens after"),
        (None, "there was nothing to compact"),
    ],
)
async def test_the_operator_learns_what_a_compaction_did(
    inside: Inside, hive: FakeHive, compacted: Compacted | None, text: str
) -> None:
    inside.runtime.compacted = compacted
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        done = await hive.control(Verb.COMPACT)
    assert (done.ok, done.text, done.changed) == (True, text, compacted is not None)


async def test_an_agent_that_begins_a_new_conversation_is_not_compacting(inside: Inside, hive: FakeHive) -> None:
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert (await hive.control(Verb.NEW_SESSION)).changed
        await hive.post("operator", "more")
        await hive.until(lambda: hive.acks == 2)
    assert TurnState.COMPACTING not in [state.state for state in hive.states]


async def test_a_new_conversation_that_is_asked_for_in_a_turn_begins_after_it(inside: Inside, hive: FakeHive) -> None:
    go = asyncio.Event()

    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await go.wait()
        return await OK(request, sink)

    inside.runtime.steps = [OK, wait]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await poll(lambda: len(inside.runtime.requests) == 2)
        assert "after the turn" in (await hive.control(Verb.NEW_SESSION)).text
        go.set()
        await hive.until(lambda: hive.acks == 2)
        await poll(lambda: inside.runtime.closes)
        await hive.post("operator", "third")
        await hive.until(lambda: hive.acks == 3)
    assert [request.session for request in inside.runtime.requests] == [None, "s1", None]


@pytest.mark.parametrize(
    ("order", "last"),
    [
        (Drain(deadline_seconds=5), TurnState.DRAINED),
        (Hold(over_budget=True), TurnState.OVER_BUDGET),
        (Hold(paused=True), TurnState.PAUSED),
    ],
)
async def test_a_compaction_that_waits_for_the_turn_does_not_begin_in_a_drain_or_a_hold(
    inside: Inside, hive: FakeHive, order: Drain | Hold, last: TurnState
) -> None:
    go = asyncio.Event()

    async def wait(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await go.wait()
        return await OK(request, sink)

    inside.runtime.steps = [OK, wait]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start() as gate:
        await poll(lambda: len(inside.runtime.requests) == 2)
        queued = await hive.control(Verb.COMPACT)
        assert (queued.text, queued.changed) == ("the compaction is queued for after the turn that runs", False)
        await hive.order(order)
        await poll(lambda: gate.draining or gate.held)
        go.set()
        await poll(lambda: any("asked for failed" in note.text for note in inside.events.of(Note)))
        await hive.until(lambda: hive.turn is last)
    states = [state.state for state in hive.states if state.probe is None]
    assert (inside.runtime.compactions, TurnState.COMPACTING in states, states[-1]) == ([], False, last)


@pytest.mark.parametrize("hold", [Hold(paused=True), Hold(over_budget=True)])
async def test_an_agent_that_may_call_no_model_is_not_compacted_but_may_begin_anew(
    inside: Inside, hive: FakeHive, hold: Hold
) -> None:
    await hive.post("operator", "work")
    async with inside.start() as gate:
        await hive.until(lambda: hive.acks == 1)
        await hive.order(hold)
        await poll(lambda: gate.held)
        assert not (await hive.control(Verb.COMPACT)).ok
        assert (await hive.control(Verb.NEW_SESSION)).ok
    assert inside.runtime.compactions == []


async def test_a_drain_that_meets_a_compaction_is_answered_after_it(inside: Inside, hive: FakeHive) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def compact(_session: str | None, _sink: Sink) -> Compacted | None:
        begun.set()
        await go.wait()
        return Compacted(10, 5, "s1")

    inside.runtime.compact = compact  # type: ignore[assignment, method-assign]
    await hive.post("operator", "work")
    async with inside.start() as gate:
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        compacting = asyncio.create_task(hive.control(Verb.COMPACT))
        await begun.wait()
        for order in (Drain(deadline_seconds=5), Resume(), Drain(deadline_seconds=5)):
            await hive.order(order)
        await poll(lambda: gate.draining)
        go.set()
        await hive.until(lambda: hive.turn is TurnState.DRAINED)
        assert (await compacting).ok


async def test_a_compaction_that_the_operator_asks_for_is_in_the_statistics(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.compacted = Compacted(200_000, 20_000, "s1", tokens=Tokens(200_000, 100, None, 2.0))
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert (await hive.control(Verb.COMPACT)).ok
    (_, usage) = inside.events.of(Usage)
    assert (usage.source, usage.input_tokens, usage.cost_dollars) == ("compaction", 200_000, 2.0)


@pytest.mark.parametrize("ending", [Ending.CRASHED, Ending.REFUSED])
async def test_an_agent_that_fails_to_write_its_notes_keeps_its_conversation(
    inside: Inside, hive: FakeHive, ending: Ending
) -> None:
    inside.runtime.capabilities = replace(inside.runtime.capabilities, compact=False)
    inside.runtime.steps = [OK, ends(ending, "it broke")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        done = await hive.control(Verb.COMPACT)
        await hive.post("operator", "more")
        await hive.until(lambda: hive.acks == 2)
    assert (done.ok, done.text) == (False, "the conversation is not compacted: it broke; try again later")
    assert "the compaction failed: it broke" in [note.text for note in inside.events.of(Note)]
    assert (inside.runtime.requests[-1].session, inside.events.of(Compaction)) == ("s1", [])


async def test_a_conversation_without_room_for_notes_is_replaced_if_the_operator_compacts_it(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.capabilities = replace(inside.runtime.capabilities, compact=False)
    inside.runtime.steps = [OK, ends(Ending.OVERFLOW, "too long", session="s1")]
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert (await hive.control(Verb.COMPACT)).ok
        await hive.post("operator", "more")
        await hive.until(lambda: hive.acks == 2)
    assert inside.runtime.requests[-1].session is None


async def test_an_agent_that_fails_to_write_its_notes_is_not_asked_for_them_after_every_turn(
    inside: Inside, hive: FakeHive
) -> None:
    def filled(context: int) -> Step:
        async def step(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
            return TurnOutcome(Ending.OK, session="s1", tokens=Tokens(context=context, window=200_000))

        return step

    inside.runtime.capabilities = replace(inside.runtime.capabilities, compact=False)
    inside.runtime.steps = [filled(170_000), ends(Ending.CRASHED, "it broke"), filled(171_000), filled(191_000), OK]
    for number in range(3):
        await hive.post("operator", f"message {number}")
    async with inside.start():
        await hive.until(lambda: hive.acks == 3 and hive.turn is TurnState.IDLE)
    asked = ["notes.md" in request.prompt for request in inside.runtime.requests]
    assert asked == [False, True, False, False, True]


async def test_a_compaction_has_the_name_of_the_model_that_the_turn_before_reported(
    inside: Inside, hive: FakeHive
) -> None:
    async def named(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        return TurnOutcome(Ending.OK, session="s1", model="claude-haiku-5-5")

    inside.runtime.steps = [named]
    inside.runtime.compacted = Compacted(200_000, 20_000, "s1", tokens=Tokens(200_000, 100, None, 2.0))
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1 and hive.turn is TurnState.IDLE)
        assert (await hive.control(Verb.COMPACT)).ok
    assert [usage.model for usage in inside.events.of(Usage)] == ["claude-haiku-5-5"] * 2
