"""One turn against the clock: silence, tools, limits, and requests to stop. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from harness.flood import WHOLE
from harness.runtimes.base import Ending, Sink, Tokens, TurnOutcome, TurnRequest
from harness.stop import Cause, Stop
from harness.turn import PIECES_KEPT, STOP_SECONDS, Recorder, make_watchdog, take_turn
from meta.agent_toml.settings import TurnLimits
from meta.errors import TransientError
from meta.wire.agent import MessageResponse
from meta.wire.live import AnyItem, Note, Stream, Text, TextDelta, ToolCall, ToolResult, Unknown
from tests.support.scripted_runtime import OK, EventList, ScriptedRuntime, Step, hangs

pytestmark = [pytest.mark.looptime]

REQUEST = TurnRequest(MessageResponse(sender="bob", body="x", id=1), "x")
LIMITS = TurnLimits(turn_seconds=10_000, silence_seconds=600, tool_seconds=1800)


async def outcome_of(runtime: ScriptedRuntime, stop: Stop | None = None, limits: TurnLimits = LIMITS) -> TurnOutcome:
    outcome, _ = await take_turn(runtime, REQUEST, EventList(), limits, stop or Stop())
    return outcome


def writing(*lines: tuple[float, Sequence[AnyItem]]) -> Step:
    """Return a turn that writes lines after so many seconds each, and then nothing more."""

    async def step(request: TurnRequest, sink: Sink) -> TurnOutcome:
        for seconds, items in lines:
            await asyncio.sleep(seconds)
            sink.line(items, {})
        return await hangs(request, sink)

    return step


async def test_a_cli_that_writes_nothing_counts_as_dead_and_is_ended() -> None:
    runtime = ScriptedRuntime([writing((500, [Text(text="a")]), (500, []))])
    outcome = await outcome_of(runtime)
    assert (outcome.ending, outcome.reason) == (Ending.CRASHED, "no line for 600 s (limits.silence_seconds)")
    assert asyncio.get_running_loop().time() == pytest.approx(1600)
    assert (runtime.closes, runtime.interrupts) == (1, 0)


async def test_a_running_tool_has_a_limit_of_its_own() -> None:
    call = ToolCall(id="1", name="Bash")
    outcome = await outcome_of(ScriptedRuntime([writing((0, [call]))]))
    assert "1800 s while a tool ran" in outcome.reason
    assert asyncio.get_running_loop().time() == pytest.approx(1800)


async def test_after_the_last_tool_ended_the_shorter_limit_counts_again() -> None:
    both: list[AnyItem] = [ToolCall(id="1", name="Bash"), ToolCall(id="2", name="Read")]
    steps = writing((0, both), (1000, [ToolResult(id="2")]), (1000, [ToolResult(id="1")]))
    assert "600 s" in (await outcome_of(ScriptedRuntime([steps]))).reason
    assert asyncio.get_running_loop().time() == pytest.approx(2600)


async def test_a_turn_over_its_limit_is_ended_although_it_writes() -> None:
    lines = [(100.0, [Text(text="a")])] * 500
    limits = LIMITS.model_copy(update={"turn_seconds": 9000})
    outcome = await outcome_of(ScriptedRuntime([writing(*lines)]), limits=limits)
    assert (outcome.ending, outcome.reason) == (Ending.CRASHED, "it took longer than limits.turn_seconds = 9000")


async def test_a_request_to_stop_is_an_interrupt_and_then_the_end_of_the_process() -> None:
    stop, runtime = Stop(), ScriptedRuntime([hangs])
    asyncio.get_running_loop().call_later(5, stop.request, Cause.OPERATOR)
    outcome = await outcome_of(runtime, stop)
    assert (outcome.ending, outcome.reason) == (Ending.CANCELLED, "the operator cancelled it")
    assert (runtime.interrupts, runtime.closes) == (1, 1)
    assert asyncio.get_running_loop().time() == pytest.approx(5 + STOP_SECONDS)


async def test_hives_limit_does_not_wait_for_the_cli_also_after_a_pause() -> None:
    stop, runtime = Stop(), ScriptedRuntime([hangs])
    asyncio.get_running_loop().call_later(5, stop.request, Cause.PAUSE)
    asyncio.get_running_loop().call_later(6, stop.request, Cause.LIMIT)
    outcome = await outcome_of(runtime, stop)
    assert (outcome.ending, stop.cause) == (Ending.CANCELLED, Cause.PAUSE)
    assert asyncio.get_running_loop().time() == pytest.approx(6)


async def test_a_turn_that_ends_well_in_spite_of_the_request_is_a_good_turn() -> None:
    runtime = ScriptedRuntime()

    async def finish(request: TurnRequest, sink: Sink) -> TurnOutcome:
        await runtime.interrupted.wait()
        return await OK(request, sink)

    stop = Stop()
    runtime.steps = [finish]
    asyncio.get_running_loop().call_soon(stop.request, Cause.PAUSE)
    assert (await outcome_of(runtime, stop)).ok


@pytest.mark.parametrize("error", [TransientError("no more memory"), RuntimeError("a bug"), ValueError()])
async def test_an_error_of_the_runtime_is_a_crash(error: Exception) -> None:
    async def fail(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        raise error

    assert (await outcome_of(ScriptedRuntime([fail]))).ending is Ending.CRASHED


@pytest.mark.parametrize("reported", [Tokens(), Tokens(9, 9, 9)])
async def test_a_turn_that_is_ended_costs_what_was_known_before_its_end(reported: Tokens) -> None:
    async def spend(request: TurnRequest, sink: Sink) -> TurnOutcome:
        sink.spent(Tokens(100, 1))
        sink.spent(Tokens(200, 2))
        if not reported.spent:
            return await hangs(request, sink)
        return TurnOutcome(Ending.CRASHED, tokens=reported)

    outcome = await outcome_of(ScriptedRuntime([spend]))
    assert (outcome.ending, outcome.tokens) == (Ending.CRASHED, reported if reported.spent else Tokens(200, 2))


async def test_a_runtime_that_does_not_let_itself_be_ended_does_not_hang_the_harness() -> None:
    async def stubborn(request: TurnRequest, sink: Sink) -> TurnOutcome:
        while True:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                if asyncio.get_running_loop().time() > 2000:
                    raise
            if asyncio.get_running_loop().time() > 2000:
                return TurnOutcome(Ending.CRASHED)

    assert "no line" in (await outcome_of(ScriptedRuntime([stubborn]))).reason
    assert asyncio.get_running_loop().time() < 700
    await asyncio.sleep(2000)


async def test_of_a_line_that_is_repeated_only_the_items_are_passed_on() -> None:
    events = EventList()
    recorder = Recorder(events, make_watchdog(LIMITS))
    recorder.line([], {"type": "ping"}, repeated=True)
    recorder.line([Text(text="a"), TextDelta(text="b")], {"raw": 1}, repeated=True)
    recorder.line([], {"raw": 2})
    assert events.of(Stream) == [
        Stream(items=(Text(text="a"),)),
        Stream(items=(TextDelta(text="b"),)),
        Stream(line={"raw": 2}),
    ]


@pytest.mark.parametrize(("ended", "kept"), [(True, ["whole"]), (False, ["par"])])
async def test_a_text_that_was_cut_off_is_kept_as_far_as_it_came(ended: bool, kept: list[str]) -> None:
    async def step(_request: TurnRequest, sink: Sink) -> TurnOutcome:
        for piece in ("p", "ar"):
            sink.line([TextDelta(text=piece)], {}, repeated=True)
        if ended:
            sink.line([Text(text="whole")], {})
        return TurnOutcome(Ending.CRASHED)

    events = EventList()
    await take_turn(ScriptedRuntime([step]), REQUEST, events, LIMITS, Stop())
    items = [item for event in events.of(Stream) for item in event.items]
    assert [item.text for item in items if isinstance(item, Text)] == kept


async def test_of_a_text_in_endless_pieces_the_beginning_is_kept() -> None:
    events = EventList()
    recorder = Recorder(events, make_watchdog(LIMITS))
    for piece in ("a" * (PIECES_KEPT - 10), "b" * PIECES_KEPT, "c", ""):
        recorder.line([TextDelta(text=piece)], {}, repeated=True)
    recorder.finish()
    (whole,) = [item for event in events.of(Stream) for item in event.items if isinstance(item, Text)]
    assert (len(whole.text) <= PIECES_KEPT, whole.text[-2:]) == (True, "bb")


async def test_a_flood_of_lines_that_are_no_json_is_one_note_and_leaves_the_others() -> None:
    events = EventList()
    recorder = Recorder(events, make_watchdog(LIMITS))
    for number in range(WHOLE + 1_234):
        recorder.line([Unknown(name="not JSON")], f"junk {number}")
    recorder.line([Text(text="an answer")], {"raw": 1})
    recorder.finish()
    lines = [event.line for event in events.of(Stream)]
    assert lines == [*(f"junk {number}" for number in range(WHOLE)), {"raw": 1}]
    assert [event.text for event in events.of(Note)] == [
        f"{WHOLE} lines of this turn are no JSON: more of them are counted, but not kept",
        "1,234 more lines that are no JSON",
    ]
    assert events.counted == [Unknown(name="not JSON")] * 1_234


async def test_each_line_of_a_flood_is_a_sign_of_life() -> None:
    watchdog = make_watchdog(LIMITS)
    recorder = Recorder(EventList(), watchdog)
    for _ in range(WHOLE + 5):
        recorder.line([ToolCall(id="a", name="t")], "junk")
        recorder.line([ToolResult(id="a")], "junk")
    assert watchdog.limit == LIMITS.silence_seconds
