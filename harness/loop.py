"""The loop: take a message, do the turn, and do what follows from its end (harness.retry).

No message is dropped here: it is acknowledged after a good turn, and given back after every other one. A turn that
failed is given back in a way that hive counts; hive makes a dead letter of the third.

Between turns the loop waits for a message, for the end of a drain, of a pause, of the budget's day, of a limit or for a
login. It asks for no message while one of them keeps turns from beginning.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from harness.connect import Backoff
from harness.conversation import Conversation
from harness.event_sink import EventSink
from harness.gate import Gate
from harness.hold import Wait
from harness.in_flight import InFlight
from harness.pod.requests import Requests
from harness.program import PROBLEM_SECONDS, Program
from harness.retry import Action, History, Next, follow, login_delay
from harness.runtimes.base import Ending, TurnOutcome
from harness.stop import Stop
from harness.suspects import Suspects
from meta.errors import Conflict, HiveError
from meta.wire.agent import MessageResponse
from meta.wire.link import TurnState
from meta.wire.live import Note

log = logging.getLogger(__name__)

DRAIN_GRACE = 1.0
"""Seconds to wait for the answer to an open `recv` after hive requested a drain."""
LOGIN_LOOK_SECONDS = 1.0
"""Seconds between two looks for a login."""
LOGIN_RETRY_SECONDS = 300.0
"""Seconds until a turn tries a login that cannot be seen."""
CHOICE = 8
"""Messages among which one is chosen for the next turn, at most."""
SETTLE_SECONDS = 30.0
"""Seconds that hive may take for the end of a turn, before the turn counts as over all the same."""
LONGEST_SLEEP = 30.0
"""Seconds until the clock is looked at again: it may have been set, or the host may have slept."""

_WITHOUT_WAY = frozenset({Ending.PARKED, Ending.CRASHED, Ending.REFUSED, Ending.NEEDS_LOGIN})
"""Endings of which a way out that does not answer may be the cause."""
_LOST = "the way out did not answer during the turn; it goes on"

_UNSETTLED = Wait(
    TurnState.PARKED,
    "hive does not take the end of the turn: it is down, or its disk may be full, see `hive doctor`; it is asked again",
)

WAY_OUT_SECONDS = 1.0
"""Seconds between two looks at a way out that does not answer, or is held."""

T = TypeVar("T")


class WayOut(Protocol):
    """The way to the model's API."""

    @property
    def known(self) -> bool:
        """Return True once it is known which keys are outside."""

    @property
    def key(self) -> str:
        """Return the kind of the key outside that the CLI uses. Empty: it needs a login."""

    @property
    def misses(self) -> int:
        """Return how many connections from inside found nothing that answers."""

    async def look(self, *, fresh: bool = False) -> str:
        """Return why no turn may begin, "" if one may."""


class OpenWay:
    """The way of a runtime that calls no model."""

    known, key, misses = True, "", 0

    async def look(self, *, fresh: bool = False) -> str:
        """Return that a turn may begin."""
        return ""


class LoginMark(Protocol):
    """The place where the CLI keeps its login, for a login that was refused: it waits until this changes."""

    def mark(self) -> object:
        """Return a value that changes when the login appears or changes. It does not block."""


class NoLoginMark:
    """The credentials of a runtime that has none, or none that can be seen."""

    def mark(self) -> object:
        """Return None."""
        return None


class Between(Protocol):
    """Work that is due between two turns, when nothing of the agent's CLI runs."""

    @property
    def due(self) -> bool:
        """Return True if there is some."""

    async def settle(self) -> None:
        """Do it. Raise HiveError; it is due again then."""


class Nothing:
    """No work between turns."""

    due = False

    async def settle(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the loop needs from outside."""

    credentials: LoginMark
    clock: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    way_out: WayOut = field(default_factory=OpenWay)
    between: Between = field(default_factory=Nothing)


class Loop:
    """The loop over one inbox, one turn at a time."""

    def __init__(
        self,
        in_flight: InFlight,
        requests: Requests,
        gate: Gate,
        conversation: Conversation,
        program: Program,
        bus: EventSink,
        outside: Outside,
    ) -> None:
        self._in_flight = in_flight
        self._requests = requests
        self._gate = gate
        self._conversation = conversation
        self._program = program
        self._bus = bus
        self._outside = outside
        self._history = History()
        self._suspects = Suspects()
        self._recv: asyncio.Future[MessageResponse | None] | None = None
        self._between = asyncio.Lock()
        self._checked = False
        self._missing: str | None = None
        self._blocked: Wait | None = None
        """The wait for the way out."""
        self._misses = 0
        """Those of the way out when the turn began."""
        self._mark: object = None
        self._login_again = self._login_earliest = 0.0
        self._exchanged = False
        """A message was given back for another one, and no turn began since."""
        self._quiet = False
        """The CLI has no process, so that it can do nothing by itself."""

    async def run(self) -> None:
        """Run until cancelled. A cancelled turn is not acknowledged: its message comes again at the next boot."""
        backoff = Backoff()
        try:
            while True:
                try:
                    message = await self._next()
                except HiveError as error:
                    log.info("recv: %s", error.summary)
                    await backoff.wait()
                    continue
                backoff.reset()
                if message is not None and self._requests.is_own(message):
                    await self._handle_own(message)
                elif message is not None:
                    await self._handle(message)
        finally:
            await self._forget_recv()

    async def between_turns(self, work: Callable[[Stop], Awaitable[T]], *, calls_model: bool) -> T:
        """Do something to the conversation while no turn runs, as `compacting` if it calls the model.

        Wait for the turn that runs.

        Raise Conflict if hive began a drain meanwhile: it may already know that no turn runs, and stop the container.
        Raise it as well for work that calls the model, if a pause or the budget forbids that.
        """
        async with self._between:
            if self._gate.draining:
                raise Conflict("hive stops the agent just now", "try again when it runs")
            if calls_model and (why := self._gate.forbidden):
                raise Conflict(why, "try again when it may take turns")
            self._quiet = False
            if not calls_model:
                return await work(Stop())
            stop = self._gate.begin(TurnState.COMPACTING)
            try:
                return await work(stop)
            finally:
                self._gate.end(self._gate.waiting)

    def retry_now(self) -> None:
        """End the wait for a limit, an outage, a login or a program: something changed that may help."""
        self._checked = self._program.problem is None
        self._gate.wait(None)

    def set_login(self, missing: str | None) -> None:
        """Take the news of who watches the credentials: why the CLI has no login, or None.

        Without one, and without a key outside, no turn begins. A turn that runs goes on.
        """
        self._missing = missing
        wait = self._gate.waiting
        waits_for_way = wait is not None and wait == self._blocked
        if missing is not None and self._needs_login and not waits_for_way and not self._gate.busy:
            self._gate.wait(Wait(TurnState.NEEDS_LOGIN, missing))
        elif missing is None and wait is not None and wait.state is TurnState.NEEDS_LOGIN:
            self._gate.wait(None)

    async def _next(self) -> MessageResponse | None:
        """Return the next message. Return None if there is none yet, or if something keeps turns from beginning."""
        changed = self._gate.changed
        if self._gate.draining:
            await self._rest(changed)
        elif self._outside.between.due:
            await self._settle_between()
        elif not self._checked:
            await self._check(changed)
        elif self._gate.held:
            await self._wait(changed)
        elif not await self._is_open():
            pass  # the gate has the reason
        elif self._recv is not None and self._recv.done():
            pass
        elif (asked := self._in_flight.take()) is not None:
            await self._forget_recv()
            return asked
        else:
            if self._recv is None:
                self._recv = asyncio.ensure_future(self._in_flight.recv())
            await _first(changed, None, self._recv)
        return self._received()

    @property
    def _needs_login(self) -> bool:
        way_out = self._outside.way_out
        return self._missing is not None and way_out.known and not way_out.key

    async def _is_open(self) -> bool:
        """Look at the way out. Return False, with the reason in the gate, if no turn can reach the model."""
        why = await self._outside.way_out.look()
        self._program.report()
        if why:
            self._gate.wait(self._block(why))
        elif self._missing is not None and self._needs_login:
            self._gate.wait(Wait(TurnState.NEEDS_LOGIN, self._missing))
        return not (why or self._needs_login)

    def _block(self, why: str) -> Wait:
        self._blocked = Wait(TurnState.PARKED, why)
        return self._blocked

    def _received(self) -> MessageResponse | None:
        if self._recv is None or not self._recv.done():
            return None
        recv, self._recv = self._recv, None
        return recv.result()

    async def _rest(self, changed: asyncio.Event) -> None:
        """Report `drained` once no `recv` is open, and wait for the end of the drain."""
        if self._recv is not None and not self._recv.done():
            await asyncio.wait({self._recv}, timeout=DRAIN_GRACE)
            if not self._recv.done():
                await self._forget_recv()
            return
        if self._recv is not None or changed.is_set():
            return
        await self._silence()
        log.info("drained")
        while self._gate.draining:
            self._gate.rest()  # again after each change: a compaction or a second drain may have begun meanwhile
            await self._gate.changed.wait()

    async def _settle_between(self) -> None:
        """End the CLI with all that it started, and do what is due: what it may do can be less from then on."""
        async with self._between:
            await self._conversation.suspend()
            self._quiet = True
            await self._outside.between.settle()

    async def _silence(self) -> None:
        """End the CLI's process until the next turn. It may call no model now, and could begin turns of its own."""
        if not self._quiet:
            async with self._between:
                await self._conversation.suspend()
                self._quiet = True

    async def _forget_recv(self) -> None:
        """Cancel the open `recv`. The next one requeues what it may have taken."""
        recv, self._recv = self._recv, None
        if recv is not None:
            recv.cancel()
            await asyncio.gather(recv, return_exceptions=True)

    async def _wait(self, changed: asyncio.Event) -> None:
        """Wait for a change of the gate, or until the wait is over. An open `recv` may end meanwhile."""
        wait, now = self._gate.waiting, self._outside.clock()
        if self._gate.forbidden or (wait is not None and wait.state is TurnState.NEEDS_LOGIN):
            await self._silence()
        if wait is None:
            await _first(changed, None, self._recv)
        elif wait == self._blocked:
            await self._wait_for_way(changed)
        elif self._is_over(wait, now) or await self._has_key(wait):
            log.info("going on: %s is over", wait.state)
            self._checked = self._program.problem is None
            self._gate.wait(None)
        else:
            await _first(changed, self._pause(wait, now), self._recv)

    async def _wait_for_way(self, changed: asyncio.Event) -> None:
        """Wait a moment for the way out, and go on if it answers. What it says meanwhile is shown."""
        if why := await self._outside.way_out.look():
            self._gate.wait(self._block(why))
            await _first(changed, WAY_OUT_SECONDS, self._recv)
        else:
            log.info("going on: the way out is open")
            self._blocked = None
            self._gate.wait(None)

    async def _has_key(self, wait: Wait) -> bool:
        """Look for a key outside while the agent needs a login."""
        if wait.state is not TurnState.NEEDS_LOGIN:
            return False
        await self._outside.way_out.look()
        return bool(self._outside.way_out.key)

    def _is_over(self, wait: Wait, now: float) -> bool:
        if wait.until is not None:
            return now >= wait.until
        if self._needs_login:
            return False
        if now >= self._login_again:
            return True
        return now >= self._login_earliest and self._outside.credentials.mark() != self._mark

    def _pause(self, wait: Wait, now: float) -> float:
        return LOGIN_LOOK_SECONDS if wait.until is None else min(wait.until - now, LONGEST_SLEEP)

    async def _check(self, changed: asyncio.Event) -> None:
        """Look whether the runtime's program is there. Without it no message is taken. A drain does not wait for it."""
        check = asyncio.ensure_future(self._program.check())
        try:
            while not check.done() and not self._gate.draining:
                await _first(changed, None, check)
                changed = self._gate.changed
        finally:
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)
        if check.cancelled():
            return
        problem, self._checked = check.result(), True
        if problem is not None:
            self._gate.wait(Wait(TurnState.PARKED, problem, self._outside.clock() + PROBLEM_SECONDS))

    async def _handle(self, message: MessageResponse) -> None:
        async with self._between:
            if not self._gate.held:
                await self._is_open()
            waiting = await self._choose(message)
            begins = not (self._gate.held or self._gate.draining or self._in_flight.uncertain)
            while begins and waiting and (waiting := await self._turn(waiting[0], waiting[1:])):
                begins = not (self._gate.paused or self._gate.draining)  # a budget lets owed turns begin: one is done
            if waiting:
                await self._in_flight.release(self._gate.status.number, waiting)

    async def _handle_own(self, message: MessageResponse) -> None:
        """Do the turn of a run that a client of the pod asked for. If none may begin now, it waits."""
        async with self._between:
            if not self._gate.held:
                await self._is_open()
            if self._gate.held or self._gate.draining:
                self._requests.put_back()
            elif self._requests.start(message) and (owed := await self._turn(message, ())):
                await self._in_flight.release(self._gate.status.number, owed)

    async def _choose(self, message: MessageResponse) -> tuple[MessageResponse, ...]:
        """Return the message for the next turn, and those that are in flight with it.

        That is another one than was received if that one may be at fault, and if hive gives it back alone later.
        """
        if not self._suspects.suspected(message.id, self._outside.clock()) or not self._in_flight.separable:
            return (message,)
        messages = [message]
        while len(messages) < CHOICE and (other := await self._in_flight.look()) is not None:
            messages.append(other)
        if len(messages) == 1 and not self._exchanged and await self._in_flight.unread():
            self._exchanged = True  # a message with a failed turn is delivered alone
            other = await self._in_flight.exchange(self._gate.status.number, message)
            return () if other is None else (other,)
        chosen = self._suspects.choose(messages)
        return (chosen, *(other for other in messages if other is not chosen))

    async def _turn(self, message: MessageResponse, others: tuple[MessageResponse, ...]) -> tuple[MessageResponse, ...]:
        """Do one turn and what follows. `others` are in flight with it, but no part of it.

        They and those that came too late for the turn are given back by their ids. Return them if hive is older and
        does not know that: they need turns before anything is acknowledged.
        """
        self._quiet = self._exchanged = False
        self._mark, self._misses = self._outside.credentials.mark(), self._outside.way_out.misses
        stop, wait = self._gate.begin(TurnState.THINKING), None
        again = ", delivered before" if message.redelivered else ""
        log.info("turn on message %d from %r, %d characters%s", message.id, message.sender, len(message.body), again)
        try:
            taken = await self._conversation.take(message, stop)
            follows = await self._follow(message, taken.outcome, stop)
            wait = follows.wait
            self._requests.settle(message, stop.cause if taken.outcome.ending is Ending.CANCELLED else None)
            others += taken.left
            owed = await self._settle(follows.action, others)
            if owed:
                return owed
            _log_end(message, taken.outcome)
            if taken.outcome.ok and self._conversation.full and not (self._gate.draining or self._gate.held):
                self._gate.become(TurnState.COMPACTING)
                await self._conversation.compact("watermark", stop)
            return ()
        finally:
            self._gate.end(wait)

    async def _settle(self, action: Action, others: tuple[MessageResponse, ...]) -> tuple[MessageResponse, ...]:
        """Acknowledge or give back what is in flight. Return what needs turns before that, if hive is older.

        hive's limit for turns does not count the time that it takes for this itself: the turn is over then.
        """
        number = self._gate.status.number
        slow = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._gate.end, _UNSETTLED)
        try:
            if others and action is not Action.RELEASE and not self._in_flight.uncertain:
                separate = await self._in_flight.separate(number, others)
                if not separate and action is Action.ACKNOWLEDGE:
                    return others
            await self._in_flight.settle(number, action, others)
        finally:
            slow.cancel()
        return ()

    async def _follow(self, message: MessageResponse, outcome: TurnOutcome, stop: Stop) -> Next:
        """Return what follows. A CLI that crashed because it cannot run at all is no failed turn.

        Nor is a turn without a way out: its message waits for that alone.
        """
        now = self._outside.clock()
        if outcome.ending in _WITHOUT_WAY and (why := await self._lost()):
            return Next(Action.RELEASE, self._history, self._block(why))
        if outcome.ending is Ending.CRASHED and (problem := await self._program.check()) is not None:
            self._bus.emit(Note(text=problem))
            outcome = replace(outcome, ending=Ending.PARKED, reason=problem, until=now + PROBLEM_SECONDS)
        at_fault = self._suspects.at_fault(message.id)
        follows = follow(outcome, stop.cause, self._history, now, self._outside.random(), at_fault=at_fault)
        if (id := self._suspects.note(message, outcome, now)) is not None:
            text = f"turns on message {id} are parked while others before and after are not: they count as failed now"
            self._bus.emit(Note(text=text))
        self._history = follows.history
        self._login_again, self._login_earliest = now + LOGIN_RETRY_SECONDS, now + login_delay(self._history)
        if follows.note:
            self._bus.emit(Note(text=follows.note))
        return follows

    async def _lost(self) -> str:
        """Return why the turn had no way out, "" if it had one."""
        why = await self._outside.way_out.look(fresh=True)
        return why or (_LOST if self._outside.way_out.misses > self._misses else "")


def _log_end(message: MessageResponse, outcome: TurnOutcome) -> None:
    if outcome.ok:
        log.info("turn on message %d is done", message.id)
    else:
        log.warning("turn on message %d ended as %s: %s", message.id, outcome.ending, outcome.reason)


async def _first(changed: asyncio.Event, seconds: float | None, work: asyncio.Future[Any] | None) -> None:
    """Wait for a change of the gate, for `work` if there is any, or for some seconds. Cancel none."""
    waiting = asyncio.ensure_future(changed.wait())
    tasks: list[asyncio.Future[Any]] = [waiting] if work is None else [waiting, work]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
