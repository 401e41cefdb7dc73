"""Make a conversation shorter: by the CLI, else by a new conversation that begins with the agent's own notes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from harness import state_file
from harness.asides import Warn
from harness.event_sink import EventSink
from harness.runtimes.base import Compacted, CompactionFailed, Ending, Runtime, Tokens, TurnOutcome, TurnRequest
from harness.stop import Stop
from harness.turn import Recorder, make_watchdog, take_turn
from harness.wake import ask_for_notes
from meta.agent_toml.settings import TurnLimits
from meta.errors import HiveError
from meta.names import SYSTEM
from meta.text import one_line
from meta.wire.agent import MessageResponse
from meta.wire.live import Compaction, Note

log = logging.getLogger(__name__)

WATERMARK = 0.8
"""The share of the context at which the harness compacts ahead, where the runtime reports both figures."""
GROWTH = 0.1
"""The share of the context by which it grows after a compaction, before the harness compacts ahead again."""
COMPACT_SECONDS = 600.0
NOTES_SECONDS = 300.0
"""Seconds that the agent has to write its notes."""
NOTES_FILE = "notes.md"
NOTES_BYTES = 128 * 1024

OUTAGES = frozenset({Ending.PARKED, Ending.NEEDS_LOGIN})
"""Endings that say nothing of the conversation."""

Trigger = Literal["overflow", "watermark", "operator", "runtime"]


@dataclass(frozen=True, slots=True)
class Shorter:
    """The conversation after it: its name, and the notes with which a new one begins. `done`: it is shorter.

    `failure` is why it is not, in one line; empty if there was nothing to compact.
    `outage` is why it is not, if the model's API or the login is at fault: a later try can succeed. `tokens` is what it
    cost, a failure included.
    """

    session: str | None
    done: bool
    notes: str | None = None
    event: Compaction | None = None
    outage: TurnOutcome | None = None
    failure: str = ""
    tokens: Tokens = field(default_factory=Tokens)


def is_full(tokens: Tokens, shortest: int | None = None) -> bool:
    """Return True if the context is so full that the next turn may not fit.

    `shortest` is what the context had after the last compaction. If that was over the watermark already, a compaction
    cannot help before it grew.
    """
    if not tokens.context or not tokens.window:
        return False
    least = 0.0 if shortest is None else shortest + GROWTH * tokens.window
    return tokens.context >= max(WATERMARK * tokens.window, least)


class Compactor:
    """Compacts the conversation of one runtime. `notes` is the file of the agent's notes as the harness reads it."""

    def __init__(self, runtime: Runtime, bus: EventSink, limits: TurnLimits, notes: Path) -> None:
        self._runtime = runtime
        self._bus = bus
        self._limits = limits
        self._notes = notes

    async def compact(self, session: str | None, model: str | None, trigger: Trigger, stop: Stop) -> Shorter:
        """Compact, and report it as an event. Without a conversation nothing happens. Raise no error of a runtime.

        A conversation that is too long and that the CLI cannot compact is replaced by a new one: it would refuse every
        later message.
        """
        if session is None:
            return Shorter(None, done=False)
        if not self._runtime.capabilities.compact:
            return await self.renew(session, model, trigger, stop)
        result = await self._by_cli(session, stop)
        if isinstance(result, Compacted):
            event = _event(trigger, result)
            self._bus.emit(event)
            return Shorter(result.session or session, done=True, event=event, tokens=result.tokens)
        tokens, failure = (Tokens(), "") if result is None else (result.tokens, result.reason)
        if result is not None and result.ending in OUTAGES:
            return Shorter(session, done=False, outage=result, failure=failure, tokens=tokens)
        if trigger != "overflow" or stop.cause is not None:
            return Shorter(session, done=False, failure=failure, tokens=tokens)
        shorter = await self.renew(session, model, trigger, stop)
        return replace(shorter, tokens=tokens + shorter.tokens)

    async def renew(self, session: str | None, model: str | None, trigger: Trigger, stop: Stop) -> Shorter:
        """Begin a new conversation with the agent's notes, and report it as an event."""
        shorter = await self._by_notes(session, model, trigger, stop)
        if shorter.event is not None:
            self._bus.emit(shorter.event)
        return shorter

    async def _by_cli(self, session: str, stop: Stop) -> Compacted | TurnOutcome | None:
        """Return the compaction, or the end of the CLI's turn if it failed. None: there is nothing to compact."""
        watchdog = make_watchdog(self._limits)
        recorder = Recorder(self._bus, watchdog)
        work = asyncio.ensure_future(self._runtime.compact(session, recorder))
        tasks: set[asyncio.Future[Any]] = {work, *map(asyncio.ensure_future, (stop.wait(), watchdog.wait()))}
        try:
            await asyncio.wait(tasks, timeout=COMPACT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            ended = TurnOutcome(Ending.CANCELLED, "the compaction was ended: it took too long or was cancelled")
            self._complain(ended.reason)
            return recorder.bill(ended)
        except CompactionFailed as error:
            self._complain(f"the compaction failed: {error.summary}")
            return error.outcome
        except HiveError as error:
            self._complain(f"the compaction failed: {error.summary}")
            return TurnOutcome(Ending.CRASHED, error.summary)
        except Exception as error:
            log.exception("the runtime raised an unexpected error")
            return TurnOutcome(Ending.CRASHED, f"{type(error).__name__}: {error}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=COMPACT_SECONDS)
            recorder.finish()

    def _complain(self, text: str) -> None:
        self._bus.emit(Note(text=text))
        self._bus.aside(Warn("compactor", text))

    async def _by_notes(self, session: str | None, model: str | None, trigger: Trigger, stop: Stop) -> Shorter:
        """Ask the agent for notes and begin anew. If it has no room to write any, older notes must do.

        Any other failure keeps the conversation, unless the next message would not fit into it. So do an outage and a
        request to stop.
        """
        message = MessageResponse(sender=SYSTEM, body="", id=0)
        request = TurnRequest(message, ask_for_notes(str(self._notes)), session, model)
        limits = self._limits.model_copy(update={"turn_seconds": min(NOTES_SECONDS, self._limits.turn_seconds)})
        outcome, _ = await take_turn(self._runtime, request, self._bus, limits, stop)
        if outcome.ending in OUTAGES:
            return Shorter(session, done=False, outage=outcome, failure=outcome.reason, tokens=outcome.tokens)
        must_end = trigger == "overflow" or outcome.ending is Ending.OVERFLOW
        if stop.cause is not None or not (outcome.ok or must_end):
            failure = outcome.reason or "the turn in which the agent writes its notes was ended"
            self._complain(f"the compaction failed: {one_line(failure)}")
            return Shorter(session, done=False, failure=failure, tokens=outcome.tokens)
        notes = state_file.read(self._notes, NOTES_BYTES)
        how = "its notes" if outcome.ok else "the notes that it had, because it could not write new ones"
        note = f"a new conversation begins with {how if notes else 'nothing: the agent has no notes'}"
        event = Compaction(trigger=trigger, tokens_before=outcome.tokens.context, note=note)
        return Shorter(None, done=True, notes=notes, event=event, tokens=outcome.tokens)


def _event(trigger: Trigger, compacted: Compacted) -> Compaction:
    return Compaction(
        trigger=trigger,
        tokens_before=compacted.tokens_before,
        tokens_after=compacted.tokens_after,
        note=compacted.note,
    )
