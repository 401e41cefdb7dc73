"""One turn of a runtime: bounded in time and in silence, ended from outside, and every error becomes an outcome."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

from harness.asides import Aside, Warn
from harness.event_sink import EventSink
from harness.flood import WHOLE, Flood
from harness.runtimes.base import Ending, Fault, Runtime, Tokens, TurnOutcome, TurnRequest
from harness.stop import Cause, Stop
from harness.watchdog import Watchdog
from meta.agent_toml.settings import TurnLimits
from meta.errors import HiveError
from meta.wire.live import AnyItem, Compaction, Note, Text, TextDelta, ToolCall

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""Seconds that a CLI has to end its turn after it was asked to."""
CLOSE_SECONDS = 20.0
"""Seconds that the end of its process may take."""
TOOL_NAMES = 200
"""Names of tools that are counted for one turn, at most."""
PIECES_KEPT = 2**20
"""Characters of a text in pieces that wait for its end, at most."""

_REASONS = {
    Cause.OPERATOR: "the operator cancelled it",
    Cause.PAUSE: "the operator paused the agent",
    Cause.POD: "a client of its pod paused it",
    Cause.LIMIT: "hive ended it, because it took too long",
}


class Recorder:
    """Takes what happens in one turn (harness.runtimes.base.Sink): for the bus, the watchdog and the statistics."""

    def __init__(self, bus: EventSink, watchdog: Watchdog) -> None:
        self._bus = bus
        self._watchdog = watchdog
        self._pieces: list[str] = []
        self._length = 0
        self._tokens = Tokens()
        self._flood = Flood()
        self.tools: dict[str, int] = {}

    def line(self, items: Sequence[AnyItem], line: object, *, repeated: bool = False) -> None:
        """Take one line of the CLI. Of one that is repeated only the items are passed on.

        Text is a line that is no JSON. Of a flood of those only the first are recorded.
        """
        self._watchdog.line(items)
        if isinstance(line, str) and not self._flood.take():
            if self._flood.begins:
                self.note(f"{WHOLE} lines of this turn are no JSON: more of them are counted, but not kept")
            self._bus.count(items)
            return
        for item in items:
            self._count(item)
        if not repeated:
            self._bus.line(items, line)
            return
        pieces = [item for item in items if isinstance(item, TextDelta)]
        for part in ([item for item in items if not isinstance(item, TextDelta)], pieces):
            if part:
                self._bus.line(part, None)

    def finish(self) -> None:
        """End the turn. Pieces of a text that the CLI did not repeat as a whole are recorded as one."""
        if self._pieces:
            self._bus.line([Text(text="".join(self._pieces))], None)
            self._forget_pieces()
        if left := self._flood.note():
            self.note(left)

    def _forget_pieces(self) -> None:
        self._pieces.clear()
        self._length = 0

    def _count(self, item: AnyItem) -> None:
        match item:
            case ToolCall(name=name) if name in self.tools or len(self.tools) < TOOL_NAMES:
                self.tools[name[:100]] = self.tools.get(name[:100], 0) + 1
            case TextDelta(text=text) if self._length < PIECES_KEPT:
                self._pieces.append(text[: PIECES_KEPT - self._length])
                self._length += len(self._pieces[-1]) + 1  # an empty one takes room too
            case Text():
                self._forget_pieces()

    def note(self, text: str) -> None:
        """Take a sentence of the adapter."""
        self._bus.emit(Note(text=text))
        self._bus.aside(Warn("worker", text))

    def aside(self, aside: Aside) -> None:
        """Take what only those see who watch now."""
        self._bus.aside(aside)

    def spent(self, tokens: Tokens) -> None:
        """Take what the turn cost so far."""
        self._tokens = tokens

    def compacted(self, before: int | None, after: int | None) -> None:
        """Take that the CLI compacted the conversation by itself."""
        self._bus.emit(Compaction(trigger="runtime", tokens_before=before, tokens_after=after))

    def bill(self, outcome: TurnOutcome) -> TurnOutcome:
        """Return the outcome with what the turn cost so far, unless it says that itself."""
        known = outcome.tokens.spent or not self._tokens.spent
        return outcome if known else replace(outcome, tokens=self._tokens)


def make_watchdog(limits: TurnLimits) -> Watchdog:
    """Return the watchdog of one turn."""
    return Watchdog(limits.silence_seconds, limits.tool_seconds, asyncio.get_running_loop().time)


async def take_turn(
    runtime: Runtime, request: TurnRequest, bus: EventSink, limits: TurnLimits, stop: Stop
) -> tuple[TurnOutcome, dict[str, int]]:
    """Return the outcome of the runtime's turn, and how often it used which tool.

    It is `crashed` if the turn takes too long, is silent for too long or raises an error. It is `cancelled` if `stop`
    asked for its end and it did not end well before.
    """
    watchdog = make_watchdog(limits)
    recorder = Recorder(bus, watchdog)
    turn: asyncio.Future[TurnOutcome] = asyncio.ensure_future(_outcome(runtime.turn(request, recorder)))
    silence = asyncio.ensure_future(watchdog.wait())
    asked = asyncio.ensure_future(stop.wait())
    tasks: list[asyncio.Future[Any]] = [turn, silence, asked]
    try:
        done, _ = await asyncio.wait(tasks, timeout=limits.turn_seconds, return_when=asyncio.FIRST_COMPLETED)
        if turn not in done:
            early = await _end(runtime, turn, stop, in_time=asked in done)
            if early is None or not early.ok:
                why = _why(stop, watchdog, limits, silent=silence in done)
                ended = _ended(early, why, stop)
                if stop.cause is None and silence not in done:
                    ended = replace(ended, fault=Fault.LIMIT)
                return recorder.bill(ended), recorder.tools
        outcome = turn.result()
        ended = _ended(outcome, "", stop) if stop.cause and not outcome.ok else outcome
        return recorder.bill(ended), recorder.tools
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        recorder.finish()


async def _outcome(turn: Awaitable[TurnOutcome]) -> TurnOutcome:
    try:
        return await turn
    except HiveError as error:
        return TurnOutcome(Ending.CRASHED, error.summary)
    except Exception as error:
        log.exception("the runtime raised an unexpected error")
        return TurnOutcome(Ending.CRASHED, f"{type(error).__name__}: {error}")


async def _end(runtime: Runtime, turn: asyncio.Future[TurnOutcome], stop: Stop, *, in_time: bool) -> TurnOutcome | None:
    """End the turn: ask the CLI if there is time for that, then end its process. Return its outcome if it had one."""
    if in_time and not stop.hard:
        hard = asyncio.ensure_future(stop.wait_hard())
        try:
            await _bounded(runtime.interrupt(), STOP_SECONDS)
            either: list[asyncio.Future[Any]] = [turn, hard]
            await asyncio.wait(either, timeout=STOP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hard.cancel()
            await asyncio.gather(hard, return_exceptions=True)
    if not turn.done():
        turn.cancel()
        await asyncio.wait({turn}, timeout=CLOSE_SECONDS)
        await _bounded(runtime.close(), CLOSE_SECONDS)
    return turn.result() if turn.done() and not turn.cancelled() else None


async def _bounded(work: Awaitable[None], seconds: float) -> None:
    """Do what a runtime must be able to do. It must not fail or hang the harness if it cannot."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("the runtime did not answer within %g s", seconds)
    except HiveError as error:
        log.warning("the runtime: %s", error.summary)
    except Exception:
        log.exception("the runtime raised an unexpected error")


async def close(runtime: Runtime) -> None:
    """End the process of a runtime. It raises nothing."""
    with contextlib.suppress(asyncio.CancelledError):
        await _bounded(runtime.close(), CLOSE_SECONDS)


def _why(stop: Stop, watchdog: Watchdog, limits: TurnLimits, *, silent: bool) -> str:
    if stop.cause is not None:
        return _REASONS[stop.cause]
    return watchdog.reason if silent else f"it took longer than limits.turn_seconds = {limits.turn_seconds:g}"


def _ended(outcome: TurnOutcome | None, reason: str, stop: Stop) -> TurnOutcome:
    """Return the outcome of a turn that was ended, with what the CLI still reported."""
    ending = Ending.CRASHED if stop.cause is None else Ending.CANCELLED
    why = reason or (_REASONS[stop.cause] if stop.cause else "")
    return replace(outcome or TurnOutcome(ending), ending=ending, reason=why, until=None)
