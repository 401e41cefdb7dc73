"""One peer on a unix socket that sends lines.

LineSplitter     bytes in, lines out; a line over the limit, or unfinished for too long, is reported once and skipped
LineConnection   one peer: its lines, sending within a deadline, and whether it is still connected
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

from typing_extensions import override

from api.sockets.budget import Hold, Share, refusal
from api.sockets.principals import peer_uid
from meta.errors import BadInput, TransientError

log = logging.getLogger(__name__)

SEND_DEADLINE = 30.0
"""Seconds after which a peer that does not read its answer is dropped."""
LINE_DEADLINE = 30.0
"""Seconds that a peer may take from the first byte of a line to its end."""
READ_BYTES = 32 * 1024
"""Bytes that are read at a time, which may be as many lines."""
LINE_COST = 64
"""Bytes that a line costs beside its own."""
HANGUP_INTERVAL = 1.0
"""Seconds between checks whether a silent peer has disconnected."""

T = TypeVar("T")


class Disconnected(Exception):
    """The peer has closed the connection."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """Replaces a line that is longer than `limit` bytes."""

    limit: int

    def fault(self) -> BadInput:
        """Return the error for the peer."""
        return BadInput(f"the line is longer than {self.limit} bytes", "send less in one request")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """In place of a line whose end did not come, or was not waited for."""

    error: TransientError

    def fault(self) -> TransientError:
        """As an error for the peer."""
        return self.error


Given = bytes | TooLong | Unfinished


class LineSplitter:
    """Splits a stream into lines of at most `limit` bytes, without their newlines. Keeps an incomplete line."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._skipping = False

    @property
    def half(self) -> int:
        """The bytes of the line that has no end yet."""
        return len(self._buffer)

    def abandon(self) -> None:
        """Forget the line that has no end yet, and skip the rest of it."""
        self._buffer = bytearray()
        self._skipping = True

    def feed(self, data: bytes) -> Iterator[bytes | TooLong]:
        """Yield the lines that `data` completes. A line that is too long is reported as soon as it is too long."""
        *whole, rest = data.split(b"\n")
        for part in whole:
            if self._skipping:
                self._skipping = False
            elif len(self._buffer) + len(part) > self._limit:
                yield TooLong(self._limit)
            else:
                yield bytes(self._buffer + part) if self._buffer else part
            self._buffer.clear()
        if not self._skipping:
            self._buffer += rest
            if len(self._buffer) > self._limit:
                self._buffer.clear()
                self._skipping = True
                yield TooLong(self._limit)


class LineConnection(asyncio.Protocol):
    """One peer. `uid` is the peer's, from the kernel. `begin` is called with the connection when it is made.

    Reading pauses while a line waits to be taken. So a peer cannot fill the daemon's memory.
    """

    uid: int | None
    _transport: asyncio.Transport
    _sock: socket.socket

    def __init__(self, limit: int, begin: Callable[[LineConnection], None], share: Share | None = None) -> None:
        self._begin = begin
        self._splitter = LineSplitter(limit)
        self._lines: deque[Given] = deque()
        self._hold = share.hold(self._give_way) if share is not None else Hold(None)
        self._kept = 0
        self._late: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._paused = False
        self._writable: asyncio.Event | None = None
        self._working: asyncio.Task[object] | None = None
        self._next_check: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()

    # callbacks of asyncio
    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        setattr(transport, "max_size", READ_BYTES)  # noqa: B010 - asyncio's, with no other way to set it
        self._sock = transport.get_extra_info("socket")
        self.uid = peer_uid(self._sock)
        self._begin(self)

    @override
    def data_received(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            self._lines.append(line)
            self._kept += _cost(line)
            self._on_time()
        if self._splitter.half and self._late is None:
            late = TransientError(f"the line was not finished within {LINE_DEADLINE:g} s", "send it faster")
            self._late = self._loop.call_later(LINE_DEADLINE, self._abandon, late)
        if not self._account():
            self._abandon(refusal())
        if not self._lines:
            return
        if self._waiter is not None:
            self._wake()
        else:
            self._transport.pause_reading()
            self._paused = True
            self._check_hangup()

    @override
    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        self._check_hangup()
        return True  # the peer may still read its answers

    @override
    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    @override
    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._on_time()
        self._kept = 0
        self._hold.resize(0)
        self._wake()
        self._check_hangup()
        self.resume_writing()
        if not self._closed.done():
            self._closed.set_result(None)

    # for the session
    async def lines(self) -> AsyncIterator[Given]:
        """Yield every complete line until the peer sends no more. An incomplete last line is dropped."""
        while True:
            while self._lines:
                line = self._lines.popleft()
                yield line
                self._kept -= _cost(line)
                del line
                self._account()
                if self._lines:  # a peer that sends many at once must not delay the others
                    await asyncio.sleep(0)
            if self._ended:
                return
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            self._waiter = self._loop.create_future()
            await self._waiter

    async def send(self, line: bytes) -> None:
        """Send one line. Raise ConnectionError or TimeoutError if the peer has disconnected or does not read."""
        self._raise_if_closed()  # or asyncio would log a warning for each write
        self._transport.write(line + b"\n")
        if self._writable is not None:
            if not self._account():
                self.abort()
                raise ConnectionResetError("the peer leaves too many answers unread")
            async with asyncio.timeout(SEND_DEADLINE):
                await self._writable.wait()
            self._account()
        self._raise_if_closed()

    async def while_connected(self, work: Coroutine[None, None, T]) -> T:
        """Return the result of `work`. When the peer disconnects, cancel `work` and raise Disconnected."""
        task = self._working = cast("asyncio.Task[object]", asyncio.current_task())
        self._check_hangup()
        try:
            return await work
        except asyncio.CancelledError:
            if self._working is None and task.uncancel() == 0:  # no other task has cancelled it as well
                raise Disconnected from None
            raise
        finally:
            self._working = None

    async def close(self) -> None:
        """Send what was written, then end the connection. A peer that does not read is disconnected at a deadline."""
        self._transport.close()
        try:
            async with asyncio.timeout(SEND_DEADLINE):
                await self._closed
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """End the connection now, without waiting."""
        self._transport.abort()

    def _account(self) -> bool:
        """Count what the daemon keeps for this peer. Return False if that is too much."""
        if self._transport.is_closing():
            return True
        return self._hold.resize(self._kept + self._splitter.half + self._transport.get_write_buffer_size())

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_way(self) -> None:
        """Drop the half line, or the connection if the bytes are those of whole lines or of answers."""
        if self._splitter.half > self._kept + self._transport.get_write_buffer_size():
            self._abandon(refusal())
        else:
            self.abort()

    def _abandon(self, error: TransientError) -> None:
        """Answer the half line with an error, and skip the rest of it. Without one the lines before it are dropped."""
        self._on_time()
        if self._splitter.half:
            self._splitter.abandon()
            self._lines.append(Unfinished(error))
            self._kept += LINE_COST
        if not self._account():
            self.abort()
            return
        if self._waiter is not None:
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _raise_if_closed(self) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the peer has disconnected")

    def _check_hangup(self) -> None:
        """Cancel the work of a peer that disconnected.

        This runs at intervals, because a hangup goes unnoticed while reading is paused.
        """
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        if self._working is None or not (self._ended or self._paused):
            return
        if self._hung_up():
            self._working.cancel()
            self._working = None
        else:
            self._next_check = self._loop.call_later(HANGUP_INTERVAL, self._check_hangup)

    def _hung_up(self) -> bool:
        """Return True if both directions are closed. A peer that only stopped sending still reads its answers."""
        if self._sock.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._sock.fileno(), 0)
        return bool(poll.poll(0))


def _cost(line: Given) -> int:
    return LINE_COST + (len(line) if isinstance(line, bytes) else 0)
