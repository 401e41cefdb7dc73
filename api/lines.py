"""Lines over unix sockets: one JSON object per line, many per connection, one connection never in another's way.

LineSplitter     bytes in, lines out; a line over the limit is reported once and skipped
LineConnection   one peer: its lines, a bounded way to answer, and whether it is still there
LineServer       one listening socket and its connections
answer_lines     the loop of a request and response protocol
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TypeVar

from api.listener import Bound
from api.principals import peer_uid
from meta.errors import BadInput, HiveError, Refused

log = logging.getLogger(__name__)

CHUNK = 65_536
SEND_DEADLINE = 30.0
"""Seconds; a peer that takes no answer for so long is dropped."""
GONE_INTERVAL = 1.0
"""Seconds between looks at a peer that said it sends no more."""
CONNECTIONS = 256
"""Most connections to one socket, unless it has a limit of its own."""

T = TypeVar("T")
Handler = Callable[[bytes], Awaitable[bytes]]


class PeerGone(Exception):
    """The peer has closed the connection."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """In place of a line that is longer than `limit` bytes."""

    limit: int

    def fault(self) -> BadInput:
        """As an error for the peer."""
        return BadInput(f"the line is longer than {self.limit} bytes", "send less in one request")


class LineSplitter:
    """Cuts a stream into lines of at most `limit` bytes, without their newline. What has no newline yet is kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | TooLong]:
        """The lines that `data` completes. An over-long one is reported as soon as that is known."""
        *whole, rest = data.split(b"\n")
        for part in whole:
            if self._skipping:
                self._skipping = False
            elif len(self._buffer) + len(part) > self._limit:
                yield TooLong(self._limit)
            else:
                yield bytes(self._buffer + part)
            self._buffer.clear()
        if not self._skipping:
            self._buffer += rest
            if len(self._buffer) > self._limit:
                self._buffer.clear()
                self._skipping = True
                yield TooLong(self._limit)


class LineConnection:
    """One peer. `uid` is the peer's, as the kernel tells it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> None:
        self._reader = reader
        self._writer = writer
        self._splitter = LineSplitter(limit)
        self._ahead: asyncio.Task[bytes] | None = None
        self._sock: socket.socket = writer.get_extra_info("socket")
        self.uid = peer_uid(self._sock)

    async def lines(self) -> AsyncIterator[bytes | TooLong]:
        """Every whole line until the peer sends no more; a half-sent last one is dropped."""
        while chunk := await self._chunk():
            for line in self._splitter.feed(chunk):
                yield line

    async def send(self, line: bytes) -> None:
        """Send one line. ConnectionError or TimeoutError when the peer is gone or takes nothing."""
        if self._writer.is_closing():
            raise ConnectionResetError("the peer is gone")  # asyncio would warn of each write, in the daemon's log
        self._writer.write(line + b"\n")
        async with asyncio.timeout(SEND_DEADLINE):
            await self._writer.drain()

    async def while_connected(self, work: Coroutine[None, None, T]) -> T:
        """The result of `work`; once the peer has closed the connection `work` is cancelled, and PeerGone raised."""
        task = asyncio.ensure_future(work)
        if self._ahead is None:
            self._ahead = asyncio.ensure_future(self._read())
        try:
            while not task.done():
                if not self._ahead.done():
                    await asyncio.wait({task, self._ahead}, return_when=asyncio.FIRST_COMPLETED)
                elif self._hung_up():
                    raise PeerGone
                else:
                    await asyncio.wait({task}, timeout=GONE_INTERVAL)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def close(self) -> None:
        """Send what was written, then end the connection; a peer that takes nothing is cut off."""
        if self._ahead is not None:
            self._ahead.cancel()
        self._writer.close()
        try:
            async with asyncio.timeout(SEND_DEADLINE):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self.abort()

    def abort(self) -> None:
        """End the connection now, without waiting for anything."""
        self._writer.transport.abort()

    async def _chunk(self) -> bytes:
        if self._ahead is None:
            return await self._read()
        ahead, self._ahead = self._ahead, None
        return await ahead

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(CHUNK)
        except OSError:
            return b""

    def _hung_up(self) -> bool:
        """True once both directions are closed; a peer that only ended its requests still wants the answers."""
        if self._sock.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._sock.fileno(), 0)
        return bool(poll.poll(0))


async def answer_lines(
    connection: LineConnection,
    handle: Handler,
    fault: Callable[[HiveError], bytes],
    written: Callable[[bool], Awaitable[None]] | None = None,
) -> None:
    """Answer each line with one line, in order. An expected error becomes `fault(error)`; the connection lives on.

    What a peer asked for is done even when it did not stay for the answer. `written` is told after each whether the
    answer was written to the connection.
    """
    async for line in connection.lines():
        sent = False
        try:
            answer = fault(line.fault()) if isinstance(line, TooLong) else await _guarded(line, handle, fault)
            await connection.send(answer)
            sent = True
        except (PeerGone, OSError) as error:
            log.debug("nobody took an answer: %s", error)
        finally:
            if written is not None:
                await written(sent)


async def _guarded(line: bytes, handle: Handler, fault: Callable[[HiveError], bytes]) -> bytes:
    try:
        return await handle(line)
    except HiveError as error:
        return fault(error)
    except PeerGone:
        raise
    except Exception:
        log.exception("a request on a socket failed inside")
        return fault(HiveError("hive failed inside while doing this", "see the daemon's log"))


Session = Callable[[LineConnection], Awaitable[None]]


class LineServer:
    """One listening socket; `session` runs once per connection and owns it until it returns.

    `admit` decides by the peer's uid; `fault` tells a peer that is not admitted why, in the socket's own protocol.
    `connections` are served at a time, one more is refused: each costs the daemon a descriptor.
    """

    def __init__(
        self,
        bound: Bound,
        session: Session,
        *,
        limit: int,
        fault: Callable[[HiveError], bytes],
        admit: Callable[[int | None], bool] = lambda _uid: True,
        connections: int = CONNECTIONS,
    ) -> None:
        self.bound = bound
        self._session = session
        self._limit = limit
        self._fault = fault
        self._admit = admit
        self._connections = connections
        self._served = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to accept."""
        self._server = await asyncio.start_unix_server(self._accept, sock=self.bound.sock)

    async def stop(self) -> None:
        """Accept no more and end the connections; the file stays."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Stop, and remove the file."""
        await self.stop()
        self.bound.remove()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._run(LineConnection(reader, writer, self._limit)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: LineConnection) -> None:
        try:
            if self._served >= self._connections:
                words = f"too many connections to this socket, it takes {self._connections}"
                await connection.send(self._fault(Refused(words, "close some first")))
            elif not self._admit(connection.uid):
                log.warning("refused uid %s on %s", connection.uid, self.bound.path)
                await connection.send(self._fault(Refused(f"uid {connection.uid} may not use this socket")))
            else:
                await self._serve(connection)
        except asyncio.CancelledError:
            connection.abort()
            raise
        except (OSError, TimeoutError) as error:
            log.debug("a connection to %s ended: %s", self.bound.path, error)
        except Exception:
            log.exception("a connection to %s failed inside", self.bound.path)
        finally:
            await connection.close()

    async def _serve(self, connection: LineConnection) -> None:
        self._served += 1
        try:
            await self._session(connection)
        finally:
            self._served -= 1
