"""What an operator asks of the harness (meta.wire.link.Control): cancel, compact, new session, model, login."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from harness.conversation import Conversation
from harness.event_sink import EventSink
from harness.gate import Gate
from harness.loop import Loop
from harness.model import Model
from harness.program import Program
from harness.stop import Cause, Stop
from meta.errors import HiveError, TransientError
from meta.text import one_line
from meta.wire.link import Control, Done, TurnState, Verb
from meta.wire.live import Compaction, Note

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Controls that are under way, at most."""
ANSWER_SECONDS = 25.0
"""Seconds that something may take until the operator gets an answer. It goes on after that."""
COMPACT_SECONDS = 200.0
"""The same for a compaction, which calls the model. hive waits a little longer."""

LOGIN_VERBS = frozenset({Verb.LOGIN, Verb.LOGIN_CODE, Verb.LOGIN_CANCEL, Verb.LOGOUT})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the operator gets. `changed`: it is done, and something is different now."""

    ok: bool
    text: str
    changed: bool = True


class LoginControl(Protocol):
    """Drives the CLI's own login. Each method returns the text for the operator, and raises HiveError if it fails."""

    async def control(self, verb: Verb, text: str) -> str:
        """Do one of LOGIN_VERBS. `text` can be a secret."""


class NoLogin:
    """The login of a runtime that has none."""

    async def control(self, verb: Verb, text: str) -> str:
        """Refuse."""
        raise HiveError(f"this agent's runtime has no {verb}", "give it a credentials file, or choose another runtime")


class Controls:
    """The operator's verbs. `answer` sends a line to hive."""

    def __init__(
        self,
        loop: Loop,
        gate: Gate,
        conversation: Conversation,
        model: Model,
        program: Program,
        bus: EventSink,
        answer: Callable[[Done], None],
        login: LoginControl,
    ) -> None:
        self._loop = loop
        self._gate = gate
        self._conversation = conversation
        self._model = model
        self._program = program
        self._bus = bus
        self._answer = answer
        self._login = login
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: set[asyncio.Task[Answer]] = set()

    def handle(self, control: Control) -> None:
        """Begin what the operator asks for. The answer follows."""
        if len(self._tasks) >= AT_ONCE:
            self._answer(Done(id=control.id, ok=False, text="the harness is busy with earlier commands; try again"))
            return
        task = asyncio.create_task(self._do(control))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = (*self._tasks, *self._later)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, control: Control) -> None:
        try:
            answer = await self._run(control)
        except HiveError as error:
            answer = Answer(False, f"{error.summary}; {error.hint}" if error.hint else error.summary)
        except Exception as error:
            log.exception("%s failed", control.verb)
            answer = Answer(False, f"the harness failed: {type(error).__name__}")
        self._answer(Done(id=control.id, ok=answer.ok, text=answer.text[:4000], changed=answer.changed))

    async def _run(self, control: Control) -> Answer:
        match control.verb:
            case Verb.CANCEL:
                return await self._cancel()
            case Verb.COMPACT:
                return await self._after_turn(self._compact, "the compaction", calls_model=True)
            case Verb.NEW_SESSION:
                return await self._after_turn(self._restart, "the new conversation", calls_model=False)
            case Verb.MODEL:
                return Answer(True, self._set_model(control.text))
            case _:
                return Answer(True, await self._login.control(control.verb, control.text))

    async def _cancel(self) -> Answer:
        """End the turn that runs. Its message counts as done, for a message that came again would just run again."""
        number = self._gate.status.number
        if not self._gate.stop(Cause.OPERATOR):
            return Answer(False, "no turn runs")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while self._gate.busy and self._gate.status.number == number:
                    await self._gate.changed.wait()
        except TimeoutError:
            return Answer(False, f"turn {number} has not ended yet")
        return Answer(True, f"turn {number} is cancelled; its message counts as done")

    async def _after_turn(self, work: Callable[[Stop], Awaitable[Answer]], what: str, *, calls_model: bool) -> Answer:
        """Do something to the conversation now, or queue it for after the turn that runs."""
        if self._gate.draining:
            return Answer(False, "hive stops the agent just now; try again when it runs")
        later = self._gate.busy
        task = asyncio.create_task(self._loop.between_turns(work, calls_model=calls_model))
        self._later.add(task)
        task.add_done_callback(self._later_done)
        if later:
            return Answer(True, f"{what} is queued for after the turn that runs", changed=False)
        await asyncio.wait({task}, timeout=COMPACT_SECONDS if calls_model else ANSWER_SECONDS)
        if task.done():
            return task.result()
        return Answer(True, f"{what} takes long; the agent's events say when it is done", changed=False)

    def _later_done(self, task: asyncio.Task[Answer]) -> None:
        self._later.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.emit(Note(text=f"what the operator asked for failed: {one_line(str(error))}"))

    async def _compact(self, stop: Stop) -> Answer:
        shorter = await self._conversation.compact("operator", stop)
        event = shorter.event
        if shorter.failure:
            raise TransientError(f"the conversation is not compacted: {shorter.failure}", "try again later")
        if event is None:
            return Answer(True, "there was nothing to compact", changed=False)
        return Answer(True, one_line("; ".join(filter(None, [_figures(event), event.note]))))

    async def _restart(self, stop: Stop) -> Answer:
        await self._conversation.restart("the operator asked for it")
        self._retry()
        return Answer(True, "the next turn begins a new conversation")

    def _set_model(self, name: str) -> str:
        warning = self._model.set(name)
        self._program.report()
        shown = self._model.name or "the runtime's default"
        self._bus.emit(Note(text=f"the model of the next turn is {shown}"))
        self._retry()
        return f"the next turn has {shown}" + (f"; a warning: {warning}" if warning else "")

    def _retry(self) -> None:
        """End the wait of a parked agent: what changed may help."""
        wait = self._gate.waiting
        if wait is not None and wait.state is TurnState.PARKED:
            self._loop.retry_now()


def _figures(event: Compaction) -> str:
    """Return how long the conversation was and is, as far as that is known."""
    match event.tokens_before, event.tokens_after:
        case None, None:
            return "compacted"
        case before, None:
            return f"compacted: {before} tokens before"
        case None, after:
            return f"compacted: {after} tokens after"
        case before, after:
            return f"compacted: {before} -> {after} tokens"
