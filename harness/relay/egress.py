"""The way out: a loopback port that carries bytes, unread, to `egress.sock` in the directory of HIVE_EGRESS.

What listens there is hive's business, outside of the container. A socket that answered before is waited for: a restart
of `hive-egress` takes a second. Only if nothing listens is the request read, as far as its head, and answered with 503
and one line that says so: a CLI shows it, and `x-should-retry: false` keeps the Anthropic SDK from retries that cannot
help. After too many connections a retry does help.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from harness.relay.idle import Connection, Connections
from harness.relay.listener import HOST, connect, linger, listening

SOCKET = "egress.sock"
CONNECTIONS = 248
"""The limit of connections at the same time. Tools of an agent may open many, and leave them open: beyond the limit an
idle one is closed, so that the CLI reaches its model. `hive-egress` takes 256: some are left for the harness itself."""
PATIENCE = 1.0
"""Seconds that a connection waits for a socket that never answered."""
RESTART_SECONDS = 20.0
"""Seconds that it waits for one that answered before."""
HEAD_SECONDS = 30.0
CHUNK = 262_144
"""Bytes that are read at a time: twice the throughput of 64 KiB."""


class Misses:
    """How many connections found no socket that answers, and whether one ever did."""

    def __init__(self) -> None:
        self.count = 0
        self.answered = False

    def hit(self) -> None:
        """Note a connection that was taken."""
        self.answered = True

    def miss(self) -> None:
        """Note a connection for which nothing listened."""
        self.count += 1


@contextlib.asynccontextmanager
async def egress_relay(
    directory: Path,
    *,
    port: int = 0,
    patience: float = PATIENCE,
    restart: float = RESTART_SECONDS,
    limit: int = CONNECTIONS,
    connections: Connections | None = None,
    misses: Misses | None = None,
) -> AsyncIterator[str]:
    """Relay inside the block; yield the URL of the proxy. The socket may come and go at any time. `port` is a wish."""
    path = directory / SOCKET
    kept = connections or Connections()
    missed = misses or Misses()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with kept.add() as connection:
            await carry(reader, writer, connection)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection) -> None:
        try:
            out_reader, out_writer = await connect(str(path), restart if missed.answered else patience, CHUNK)
            missed.hit()
        except OSError as error:
            missed.miss()
            await _answer(reader, writer, f"no way out of this container: {path} does not answer ({error.strerror})")
            return
        try:
            await _relay((reader, writer), (out_reader, out_writer), connection)
        except BaseException:
            out_writer.transport.abort()
            raise
        out_writer.close()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reason = f"too many connections through the way out, at most {limit} at the same time"
        await _answer(reader, writer, reason, retry=True)

    async with listening(serve, refuse, limit=limit, port=port, make_room=kept.close_idle, chunk=CHUNK) as chosen:
        yield f"http://{HOST}:{chosen}"


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(inner: Streams, outer: Streams, connection: Connection) -> None:
    """Carry bytes both ways until both sides have ended. OSError if one broke off."""
    try:
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_carry(inner[0], outer[1], connection, request=True))
            ways.create_task(_carry(outer[0], inner[1], connection, request=False))
    except* OSError as errors:
        raise ConnectionResetError("one side broke off") from errors


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection, *, request: bool
) -> None:
    """Carry bytes one way: no faster than the receiver reads, without a limit of time, its end too."""
    while data := await reader.read(CHUNK):
        connection.carry(request=request)
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reason: str, *, retry: bool = False
) -> None:
    """Read the head of the request, and answer 503. The body has the form in which APIs of models report errors."""
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return
    error = {"type": "api_error", "code": "no_egress", "message": reason}
    body = json.dumps({"type": "error", "error": error}).encode()
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-should-retry: {'true' if retry else 'false'}",
        "connection: close",
    )
    writer.write("\r\n".join((*lines, "", "")).encode("ascii"))
    if not head.startswith(b"HEAD "):
        writer.write(body)
    await linger(reader, writer)
