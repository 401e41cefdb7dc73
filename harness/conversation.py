"""The agent's conversation: each message becomes a turn of it, with events, statistics, compaction and a way back."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from harness.compaction import Compactor, Shorter, Trigger, is_full
from harness.event_sink import EventSink
from harness.gate import Gate
from harness.in_flight import InFlight
from harness.mail import Mail
from harness.model import Model
from harness.runtimes.base import Ending, Runtime, TurnOutcome, TurnRequest
from harness.session import Session
from harness.stop import Cause, Stop
from harness.turn import close, take_turn
from harness.wake import Around, Begins, more, wake
from meta.agent_toml.settings import AgentSettings, flatten
from meta.text import one_line
from meta.wire.agent import MessageResponse
from meta.wire.link import TurnState
from meta.wire.live import Note, TurnEnd, TurnStart, Usage

Attempt = tuple[TurnOutcome, dict[str, int]]
"""The outcome of one attempt at a turn, and how often it used which tool."""
Way = Callable[[str | None, str | None, Trigger, Stop], Awaitable[Shorter]]
"""A way to make a conversation shorter, given its name, the model, the trigger and the request to stop."""


class News(Protocol):
    """What the agent must know of its container at the beginning of a turn."""

    def lines(self) -> Sequence[str]:
        """Return it, in words of hive. Empty: there is nothing."""

    def mark_shown(self) -> None:
        """Note that a turn ended well that began with what `lines` returned last."""


class Runs(Protocol):
    """The runs of the agent's pod: each turn is one."""

    def begins(self, message: MessageResponse) -> Begins:
        """Take that a turn begins, and return what came before it."""

    def ends(self, outcome: TurnOutcome, cause: Cause | None) -> None:
        """Take how it ended. `cause`: who asked for its end."""


class NoRuns:
    """The runs of an agent without a pod."""

    def begins(self, message: MessageResponse) -> Begins:
        """Return that nothing came before."""
        return Begins()

    def ends(self, outcome: TurnOutcome, cause: Cause | None) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What does not change while the harness runs. `key` returns the kind of the key outside, "" without one."""

    generation: str
    settings: AgentSettings
    news: Sequence[News] = ()
    key: Callable[[], str] = str
    runs: Runs = field(default_factory=NoRuns)


@dataclass(frozen=True, slots=True)
class Taken:
    """A turn that ended. `left` are messages that may have come too late for it, and are in flight with it."""

    outcome: TurnOutcome
    left: tuple[MessageResponse, ...] = ()


class Conversation:
    """The turns of one agent, one at a time. The caller holds the gate (`Gate.begin`) meanwhile."""

    def __init__(
        self,
        agent: Agent,
        runtime: Runtime,
        in_flight: InFlight,
        gate: Gate,
        bus: EventSink,
        session: Session,
        model: Model,
        compactor: Compactor,
    ) -> None:
        self._agent = agent
        self._flat = flatten(agent.settings)
        self._runtime = runtime
        self._in_flight = in_flight
        self._gate = gate
        self._bus = bus
        self._session = session
        self._model = model
        self._compactor = compactor
        self._notes: str | None = None
        self._full = False
        self._shortest: int | None = None
        """Tokens of the context after a compaction, or after the first turn that followed. None: there was none.

        After one that failed: those that it has still, so that the next one waits until it grew.
        """
        self._context: int | None = None
        self._called = ("", "")
        """A model as it was asked for, and as the CLI calls it. A compaction has no name of its own for it."""
        self._compacted = False
        """No turn ended well since the last compaction."""

    @property
    def full(self) -> bool:
        """Return True if the conversation is better compacted before the next turn."""
        return self._full

    async def take(self, message: MessageResponse, stop: Stop) -> Taken:
        """Do the turn of a message: its events, the turn itself, and once more after a compaction."""
        began = time.monotonic()
        number = self._gate.status.number
        unread = await self._in_flight.unread()
        start = TurnStart(**{"from": message.sender}, body=message.body, unread=unread or 0, turn=number)
        self._bus.emit(start)
        begins = self._agent.runs.begins(message)
        mark = secrets.token_hex(6)
        mail = Mail(self._in_flight, self._runtime, lambda late: more(late, mark), self._injected)
        mail.start()
        try:
            outcome, tools = await self._attempts(message, Around(mark, unread, begins=begins), stop, mail)
        except BaseException:  # the harness ends, and acknowledges nothing: what was asked for need not be awaited
            await mail.cancel()
            raise
        await mail.stop()
        ending = Ending.CANCELLED if stop.cause is not None and not outcome.ok else outcome.ending
        outcome = replace(outcome, ending=ending).without_login(self._agent.key())
        outcome = replace(outcome, reason=one_line(outcome.reason))
        self._keep(outcome)
        self._agent.runs.ends(outcome, stop.cause)
        self._bus.emit(self._usage(outcome, message.sender, time.monotonic() - began, tools, number))
        note = outcome.reason or None
        self._bus.emit(TurnEnd(ok=outcome.ok, note=note, ending=outcome.ending.value, turn=number))
        return Taken(outcome, mail.left(outcome.unseen))

    async def compact(self, trigger: Trigger, stop: Stop) -> Shorter:
        """Compact the conversation now."""
        began = time.monotonic()
        shorter = await self._compactor.compact(self._session.id, self._model.name, trigger, stop)
        self._accept(shorter)
        if not shorter.done and shorter.outage is None and stop.cause is None:
            self._shortest = self._context
        if shorter.tokens.spent:
            ending = Ending.OK if shorter.outage is None else shorter.outage.ending
            outcome = TurnOutcome(ending, tokens=shorter.tokens)
            self._bus.emit(self._usage(outcome, "compaction", time.monotonic() - began, {}, self._gate.status.number))
        return shorter

    async def suspend(self) -> None:
        """End the runtime's process. The next turn starts one that continues the conversation."""
        if self._runtime.capabilities.resume:
            await close(self._runtime)

    async def restart(self, why: str) -> None:
        """Begin a new conversation with the next turn."""
        await close(self._runtime)
        self._session.keep(None)
        self._notes = None
        self._full, self._compacted, self._shortest, self._context = False, False, None, None
        self._gate.measure(None, None)
        self._bus.emit(Note(text=f"a new conversation begins: {why}"))

    async def _attempts(self, message: MessageResponse, around: Around, stop: Stop, mail: Mail) -> Attempt:
        """Do the turn. Do it once more after each way to make the conversation shorter.

        What is too long even for a new conversation is the fault of the message.
        """
        outcome, tools = await self._attempt(message, around, stop)
        again = message.model_copy(update={"redelivered": True})  # it may be handled in part
        for way in (self._compactor.compact, self._compactor.renew):
            if stop.cause is not None or outcome.ending is not Ending.OVERFLOW:
                break
            shorter = await self._shorten(way, outcome, stop)
            mail.drop()
            outcome = replace(outcome, tokens=outcome.tokens + shorter.tokens)
            if (outage := shorter.outage) is not None:
                outcome = replace(outcome, ending=outage.ending, reason=outage.reason, until=outage.until)
            if not shorter.done or stop.cause is not None:
                break
            outcome, tools = _together((outcome, tools), await self._attempt(again, around, stop))
            if shorter.session is None:
                break
        return outcome, tools

    async def _shorten(self, way: Way, outcome: TurnOutcome, stop: Stop) -> Shorter:
        """Make the conversation of a turn shorter that had no room."""
        self._gate.become(TurnState.COMPACTING)
        self._session.keep(outcome.session or self._session.id)
        shorter = await way(self._session.id, self._model.name, "overflow", stop)
        self._accept(shorter)
        self._gate.become(TurnState.THINKING)
        return shorter

    def _accept(self, shorter: Shorter) -> None:
        self._full = False
        if shorter.done:
            self._compacted, self._context = True, None
            self._shortest = None if shorter.event is None else shorter.event.tokens_after
            self._gate.measure(self._shortest, self._gate.status.window)
            self._session.keep(shorter.session)
            self._notes = shorter.notes

    async def _attempt(self, message: MessageResponse, around: Around, stop: Stop) -> Attempt:
        changes = self._session.changes(self._agent.generation, self._flat)
        news = [line for source in self._agent.news for line in source.lines()]
        text = wake(message, replace(around, changes=changes, news=news, notes=self._notes))
        goes_on = around.begins.goes_on
        request = TurnRequest(message, text, self._session.id, self._model.name, goes_on)
        return await take_turn(self._runtime, request, self._bus, self._agent.settings.limits, stop)

    def _keep(self, outcome: TurnOutcome) -> None:
        if outcome.session is not None:
            self._session.keep(outcome.session)
        if outcome.ok:
            self._notes = None
            self._session.remember(self._agent.generation, self._flat)
            for source in self._agent.news:
                source.mark_shown()
            tokens = outcome.tokens
            self._context = tokens.context
            self._gate.measure(tokens.context, tokens.window)
            if self._compacted and self._shortest is None:
                self._shortest = tokens.context
            self._compacted = False
            self._full = is_full(tokens, self._shortest)

    def _injected(self, message: MessageResponse) -> None:
        sender = one_line(message.sender, 100)
        self._bus.emit(Note(text=f"message {message.id} from {sender} reached the model within the turn"))

    def _usage(self, outcome: TurnOutcome, source: str, seconds: float, tools: dict[str, int], turn: int) -> Usage:
        tokens, asked = outcome.tokens, self._model.name or self._runtime.default_model
        if outcome.model:
            self._called = (asked, outcome.model)
        name = self._called[1] if self._called[0] == asked else asked
        return Usage(
            turn=turn,
            runtime=self._runtime.name,
            model=outcome.model or name,
            source=one_line(source, 100),
            seconds=seconds,
            ending=outcome.ending.value,
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cached_tokens=tokens.cached,
            cost_dollars=tokens.cost_dollars,
            tools=tools,
        )


def _together(first: Attempt, second: Attempt) -> Attempt:
    """Return the second attempt at a turn, with what both cost and the tools that both used."""
    (before, earlier), (outcome, later) = first, second
    tools = Counter(earlier) + Counter(later)
    return replace(outcome, tokens=before.tokens + outcome.tokens), dict(tools)
