"""An established tunnel: two sockets, and their bytes both ways.

Bytes go from one socket to the other through one buffer of the whole process, so a tunnel without traffic holds none.
What a slow peer does not take is held, at most one chunk for each direction, and nothing more is read until it took it.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from meta.network.verdict import Verdict
from reconciler.egress.counters import Entry
from reconciler.egress.limits import CHUNK, HALF_OPEN_SECONDS, HELLO_SECONDS, SMALL_CHUNK, STALLED_LIMIT, Pace
from reconciler.egress.ports import Denied


class Guard(Protocol):
    """The check of a client's first bytes. `waiting`: it owes some."""

    @property
    def waiting(self) -> bool:
        """Return True while the client owes bytes."""

    def __call__(self, data: bytes) -> bytes:
        """Take bytes. Return all so far that may go on, b"" to wait for more. Raise Denied."""


class Carrier:
    """What all tunnels share: the buffer, the bytes that wait, and the look at those that stand still."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(CHUNK))
        self._stalled: Counter[Pace] = Counter()
        self.tunnels: set[Tunnel] = set()

    def buffer(self, pace: Pace) -> memoryview:
        """Return the buffer for one read of the agent with this pace. Its content is only good until the next one."""
        size = min(pace.chunk(), CHUNK if self._stalled[pace] < STALLED_LIMIT else SMALL_CHUNK)
        return self._buffer if size == CHUNK else self._buffer[:size]

    def stall(self, pace: Pace, count: int) -> None:
        """Count bytes of the agent with this pace that wait for a slow peer; fewer than 0 wait no longer."""
        self._stalled[pace] += count
        if not self._stalled[pace]:
            del self._stalled[pace]

    def sweep(self, now: float, idle_seconds: float) -> None:
        """End the tunnels that stand still for too long, and those whose client has left."""
        for tunnel in list(self.tunnels):
            tunnel.sweep(now, idle_seconds)


class _Flow:
    """One direction. `count` gets the number of bytes of each read."""

    def __init__(
        self, tunnel: Tunnel, source: socket.socket, sink: socket.socket, count: Callable[[int], None]
    ) -> None:
        self._tunnel = tunnel
        self._source = source
        self._sink = sink
        # the event loop takes sockets too, but then it spends a quarter of a connection's time on their text
        self._from = source.fileno()
        self._to = sink.fileno()
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._held = memoryview(b"")
        self._timer: asyncio.TimerHandle | None = None
        self._at_end = False
        self.started = False
        self.ended = False

    def start(self) -> None:
        self.started = True
        self._loop.add_reader(self._from, self._read)

    def stop(self) -> None:
        self._loop.remove_reader(self._from)
        self._loop.remove_writer(self._to)
        if self._timer is not None:
            self._timer.cancel()
        self._tunnel.carrier.stall(self._tunnel.pace, -len(self._held))
        self._held = memoryview(b"")

    def send(self, data: memoryview | bytes) -> None:
        """Send bytes, and hold those that the sink does not take now."""
        try:
            sent = self._sink.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._abandon()
            return
        if sent < len(data):
            self._hold(memoryview(bytes(data[sent:])))

    def _read(self) -> None:
        if seconds := self._tunnel.pace.take(0):
            self._pause(seconds)
            return
        buffer = self._tunnel.carrier.buffer(self._tunnel.pace)
        try:
            count = self._source.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._tunnel.finish("error")
            return
        if not count:
            self._loop.remove_reader(self._from)
            self._at_end = True
            if not self._held:
                self._end()
            return
        self._count(count)
        data: memoryview | bytes = buffer[:count]
        if self is self._tunnel.outward and self._tunnel.guard is not None:
            data = self._tunnel.pass_guard(bytes(data))
        if data:
            self.send(data)

    def _pause(self, seconds: float) -> None:
        """Read nothing until the agent's limit of bytes per second allows it."""
        self._loop.remove_reader(self._from)
        self._timer = self._loop.call_later(seconds, self.start)

    def _hold(self, data: memoryview) -> None:
        self._held = data
        self._tunnel.carrier.stall(self._tunnel.pace, len(data))
        self._loop.remove_reader(self._from)
        self._loop.add_writer(self._to, self._write)

    def _write(self) -> None:
        try:
            sent = self._sink.send(self._held)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._abandon()
            return
        self._tunnel.carrier.stall(self._tunnel.pace, -sent)
        self._held = self._held[sent:]
        self._tunnel.touch()
        if self._held:
            return
        self._loop.remove_writer(self._to)
        if self._at_end:
            self._end()
        else:
            self.start()

    def _abandon(self) -> None:
        """Carry nothing more: the sink takes no bytes. What it sent before may still be on its way."""
        self.stop()
        self.ended = True
        self._tunnel.end_flow()

    def _end(self) -> None:
        """Carry the end of one side to the other."""
        self.ended = True
        with contextlib.suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)
        self._tunnel.end_flow()


class Tunnel:
    """A client and what it reached. With a guard, the client's first bytes are checked before they go on."""

    def __init__(
        self,
        client: socket.socket,
        upstream: socket.socket,
        entry: Entry,
        pace: Pace,
        carrier: Carrier,
        guard: Guard | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._entry = entry
        self._last = self._loop.time()
        self._owed_since: float | None = None
        self.carrier = carrier
        self.pace = pace
        self.guard = guard
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.outward = _Flow(self, client, upstream, self._sent)
        self.inward = _Flow(self, upstream, client, self._received)

    async def run(self, first: bytes, *, wait_for_client: bool) -> None:
        """Carry bytes until both sides ended, or `finish`. `first` are bytes that the client sent already.

        With `wait_for_client` nothing goes inward before the guard let the client's first bytes pass.
        """
        self.carrier.tunnels.add(self)
        try:
            self.outward.start()
            if not wait_for_client or self.guard is None:
                self.inward.start()
            if first:
                self._sent(len(first))
                if data := first if self.guard is None else self.pass_guard(first):
                    self.outward.send(data)
            await self.done
        finally:
            self.carrier.tunnels.discard(self)
            self.outward.stop()
            self.inward.stop()

    def pass_guard(self, data: bytes) -> bytes:
        """Return the client's bytes that may go on. End the tunnel if they are refused."""
        if self.guard is None:
            return data
        try:
            passed = self.guard(data)
        except Denied as denied:
            self.refuse(denied)
            return b""
        if passed:
            self.guard = None
            if not self.inward.started:
                self.inward.start()
        return passed

    def refuse(self, denied: Denied) -> None:
        """End it, and record it as refused."""
        self._entry.deny(denied)
        self.finish("limit" if denied.verdict is Verdict.LIMIT else "closed")

    def finish(self, end: str) -> None:
        """End it, for a reason: a word of meta.network.report.ConnectionRecord."""
        self._entry.finish(end)
        if not self.done.done():
            self.done.set_result(None)

    def end_flow(self) -> None:
        """End it if both directions ended, or the client has left and all that it sent is carried."""
        if self.outward.ended and (self.inward.ended or self._client_left()):
            self.finish("closed")

    def touch(self) -> None:
        """Note that bytes moved."""
        self._last = self._loop.time()

    def sweep(self, now: float, idle_seconds: float) -> None:
        """End it if no byte moved for too long, or its client has left."""
        if self.guard is None or not self.guard.waiting:
            self._owed_since = None
        elif self._owed_since is None:
            self._owed_since = now
        elif now - self._owed_since >= HELLO_SECONDS:
            self.refuse(Denied(Verdict.LIMIT, "the-ClientHello-did-not-come-in-time"))
            return
        half_open = self.outward.ended or self.inward.ended
        if now - self._last >= (min(idle_seconds, HALF_OPEN_SECONDS) if half_open else idle_seconds):
            self.finish("idle")
        elif half_open:
            self.end_flow()

    def _client_left(self) -> bool:
        poll = select.poll()
        poll.register(self._client, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    def _sent(self, count: int) -> None:
        self._entry.sent += count
        self.pace.take(count)
        self.touch()

    def _received(self, count: int) -> None:
        self._entry.received += count
        self.pace.take(count)
        self.touch()
