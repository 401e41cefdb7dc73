"""The harness's end of the link (meta.wire.link): send the hello and turn states, answer probes, obey drains and holds.

It also ends a turn if hive asks for that, and gives messages back. What it does not obey itself it passes to the
handler of that kind of line. It reconnects for ever. A drain ends with its connection. A daemon that still needs the
drain repeats it after the hello.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.connect import Backoff, connect
from harness.environment import Environment
from harness.events.bus import Bus
from harness.events.feed import limit_buffers, send_events
from harness.gate import Gate
from harness.stop import Cause
from meta.wire.codec import encode
from meta.wire.link import (
    DOWN,
    About,
    Cancel,
    Closed,
    DownLine,
    Drain,
    Follow,
    Hello,
    Hold,
    Pods,
    Probe,
    Release,
    Released,
    Resume,
    TurnState,
    UpLine,
)

log = logging.getLogger(__name__)

RELEASE_SECONDS = 5.0
"""Seconds that hive has for `released`. Then it is asked again, unless it is older and may not know `release`."""
LARGEST_ID = 2**53
"""The largest id of an event that a line of the link can have. The agent may have written another one to its log."""
EARLY = 16
"""Lines that are kept until their handler is there."""

Line = TypeVar("Line", bound=DownLine)


class Link:
    """The connection to `harness.sock`."""

    def __init__(self, environment: Environment, gate: Gate, bus: Bus) -> None:
        self._environment = environment
        self._gate = gate
        self._bus = bus
        self._feed: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._received = False
        self._about: About | None = None
        self._pods: Pods | None = None
        self._release: tuple[Release, asyncio.Future[None]] | None = None
        self._by_id = False
        self._greeted = asyncio.Event()
        self._handlers: dict[type[Any], Callable[[Any], None]] = {}
        self._early: deque[DownLine] = deque(maxlen=EARLY)
        self.acknowledged = asyncio.Event()
        """Set once hive has sent a line, which it does after a hello."""
        gate.listen(lambda: self.send(gate.status.line()))

    async def run(self) -> None:
        """Keep the link until cancelled."""
        backoff = Backoff()
        while True:
            reader, writer = await connect(self._environment.link, backoff)
            self._received = False
            try:
                await self._session(reader, writer)
                log.info("the link to hive ended")
            except (OSError, ValueError) as error:
                log.info("the link to hive broke: %s", error)
            finally:
                await self._follow(None)
                self._writer = None
                self._gate.resume()
                writer.close()
            if self._received:
                backoff.reset()
            await backoff.wait()

    def handle(self, kind: type[Line], handler: Callable[[Line], None]) -> None:
        """Pass lines of this kind to `handler`, also those that came before. It neither blocks nor raises."""
        self._handlers[kind] = handler
        early, self._early = self._early, deque(maxlen=EARLY)
        for line in early:
            self._handle(line)

    def send(self, line: UpLine) -> None:
        """Write a line without waiting; without a connection drop it. An answer to a probe must not be delayed."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(line) + b"\n")

    def about(self, about: About) -> None:
        """Report the runtime now, if that is news, and after each hello."""
        if about != self._about:
            self._about = about
            self.send(about)

    def pods(self, pods: Pods) -> None:
        """Report the agent's pods now, if that is news, and after each hello."""
        if pods != self._pods:
            self._pods = pods
            self.send(pods)

    @property
    def by_id(self) -> bool:
        """Return True if hive gives back single messages of a turn."""
        return self._by_id

    async def release(self, turn: int, only: tuple[int, ...] | None = None) -> bool:
        """Give messages of this turn back without a failed turn: those with the ids `only`, or all. One call at a time.

        Ask until hive answers. Return False if it is an older one that does not, or does not know `only`.
        """
        if only is not None:
            await self._greeted.wait()
            if not self._by_id:
                return False
        request, answer = Release(turn=turn, only=only), asyncio.get_running_loop().create_future()
        self._release = request, answer
        try:
            while not answer.done():
                self._request_release()
                await asyncio.wait({answer}, timeout=RELEASE_SECONDS)
                if self._greeted.is_set() and not self._by_id:
                    break
        finally:
            self._release = None
        return answer.done()

    def _request_release(self) -> None:
        """Send the open release. An older hive ignores `only` and gives everything back: it does not get such a one."""
        if self._release is None:
            return
        request = self._release[0]
        if request.only is None or (self._greeted.is_set() and self._by_id):
            self.send(request)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._greeted.clear()
        self._greet()
        while line := await reader.readline():
            try:
                order = DOWN.validate_json(line)
                if isinstance(order, Closed):
                    log.warning("hive closes the link: %s", order.reason)
                    return
                self._received = True
                if not self._greeted.is_set() and not isinstance(order, Hold):
                    self._gate.hold(Hold())  # an older hive, which could never end a pause that is remembered
                self._learn(order)
                if isinstance(order, Follow):
                    await self._follow(order.after)
                else:
                    self._handle(order)
            except ValidationError as error:
                why = error.errors(include_url=False, include_input=False)[0]["msg"]
                log.warning("ignoring a line of hive that does not parse: %s", why)

    def _learn(self, order: DownLine) -> None:
        """Learn from hive's first line what it knows."""
        if not self._greeted.is_set():
            self._by_id = isinstance(order, Hold) and order.releases
            self._greeted.set()
            if self._release is not None and self._release[0].only is not None:
                self._request_release()
        self.acknowledged.set()

    def _greet(self) -> None:
        environment, status = self._environment, self._gate.status
        self.send(
            Hello(
                generation=environment.generation,
                nonce=environment.nonce,
                state=status.state,
                seconds=self._gate.seconds,
                turn=status.number,
                until=status.until,
                reason=status.reason,
                log=self._bus.log,
                last=min(self._bus.last, LARGEST_ID),
                person=status.person,
                context=status.context,
                window=status.window,
            )
        )
        log.info("hello to hive as generation %s", environment.generation or "(none)")
        if self._about is not None:
            self.send(self._about)
        if self._pods is not None:
            self.send(self._pods)
        self._request_release()

    async def _follow(self, after: int | None) -> None:
        """Send the events after this id from now on, instead of what was sent until now. None: send none."""
        if self._feed is not None:
            self._feed.cancel()
            await asyncio.gather(self._feed, return_exceptions=True)
            self._feed = None
        if after is not None and self._writer is not None:
            limit_buffers(self._writer)
            self._feed = asyncio.create_task(send_events(self._bus, after, self._writer))

    def _handle(self, order: DownLine) -> None:
        match order:
            case Probe(probe=probe):
                self.send(self._gate.status.line(probe))
            case Drain():
                self._drain()
            case Cancel(turn=turn):
                log.warning("hive ends the turn%s: it takes too long", "" if turn is None else f" {turn}")
                self._gate.stop(Cause.LIMIT, turn)
            case Resume():
                log.info("resuming")
                self._gate.resume()
            case Hold():
                log.info("hive holds the agent: %s", _hold(order))
                self._gate.hold(order)
            case Released():
                self._answer_release(order)
            case _:
                self._pass_on(order)

    def _answer_release(self, released: Released) -> None:
        if self._release is None:
            return
        request, answer = self._release
        if (released.turn, released.only) == (request.turn, request.only) and not answer.done():
            answer.set_result(None)

    def _drain(self) -> None:
        log.info("draining")
        self._gate.drain()
        if self._gate.status.state is TurnState.DRAINED:
            self.send(self._gate.status.line())

    def _pass_on(self, order: DownLine) -> None:
        handler = self._handlers.get(type(order))
        if handler is None:
            self._early.append(order)
        else:
            handler(order)


def _hold(hold: Hold) -> str:
    reasons = [name for name, holds in (("paused", hold.paused), ("over budget", hold.over_budget)) if holds]
    return " and ".join(reasons) or "not at all"
