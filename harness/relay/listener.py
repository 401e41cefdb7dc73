"""A TCP port on loopback whose connections are served by a function, at most `limit` at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
CHUNK = 65_536
"""Bytes that are read at a time, and that one direction of a connection keeps at most a few times."""
LINGER_BYTES = 16 * 2**20
LINGER_SECONDS = 5.0
"""How much, and how long, a peer that was refused may go on sending before it is cut off."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(
    serve: Serve,
    refuse: Serve,
    *,
    limit: int,
    port: int = 0,
    make_room: Callable[[], bool] = lambda: False,
    chunk: int = CHUNK,
) -> AsyncIterator[int]:
    """Serve connections inside the block; yield the port. 0, or a port that is taken: the kernel chooses one.

    At `limit` connections `make_room` is called, which may end one and return True. Otherwise further ones go to
    `refuse`, and beyond twice as many they are cut off, so that descriptors are left for everything else. At the end of
    the block open connections are cut off.
    """
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen = serve if len(tasks) < limit or make_room() else refuse
        if chosen is refuse and len(tasks) >= 2 * limit:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(_session(chosen, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await _listen(accept, port, chunk)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(
    accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None], port: int, chunk: int
) -> asyncio.Server:
    try:
        return await asyncio.start_server(accept, HOST, port, limit=chunk)
    except OSError as error:
        if port == 0 or error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        log.warning("port %d is not free, taking another one", port)
        return await asyncio.start_server(accept, HOST, 0, limit=chunk)


async def _session(serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection. Whatever it does, the next ones are served."""
    try:
        await serve(reader, writer)
        writer.close()
    except OSError:
        writer.transport.abort()
    except asyncio.CancelledError:
        writer.transport.abort()
        raise
    except Exception:
        log.exception("a relayed connection failed")
        writer.transport.abort()


async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End our side, and read what the peer still sends: closed at once, it would get a reset and not the answer."""
    writer.write_eof()
    rest = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while rest > 0 and (data := await reader.read(CHUNK)):
                rest -= len(data)


async def connect(path: str, patience: float, chunk: int = CHUNK) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a unix socket. Retry for `patience` seconds, because its server may be restarting; then OSError."""
    loop = asyncio.get_running_loop()
    end, delay = loop.time() + patience, 0.02
    while True:
        try:
            return await asyncio.open_unix_connection(path, limit=chunk)
        except OSError:
            if loop.time() + delay > end:
                raise
        await asyncio.sleep(delay)
        delay = min(delay * 2, 0.25)
