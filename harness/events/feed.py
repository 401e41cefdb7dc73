"""The events as lines of the link. They never delay the other lines: at most BUFFER bytes of them wait before one."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import aclosing

from harness.events.bus import Bus
from harness.events.database import Row

log = logging.getLogger(__name__)

BUFFER = 64 * 1024
"""Bytes that wait in the process, and again in the socket."""
CHUNK = 16 * 1024
"""Bytes that are written at a time."""


def limit_buffers(writer: asyncio.StreamWriter) -> None:
    """Bound what waits in the process and in the kernel before a line that is written now."""
    writer.transport.set_write_buffer_limits(high=BUFFER)
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER // 2)  # the kernel doubles it


async def send_events(bus: Bus, after: int, writer: asyncio.StreamWriter) -> None:
    """Send the events after this id, and then every new one, as fast as hive reads them. Return if the link ends."""
    try:
        async with aclosing(bus.follow(after)) as coming:
            async for rows in coming:
                chunk: list[bytes] = []
                size = 0
                for row in rows:
                    chunk.append(line(row))
                    size += len(chunk[-1])
                    if size >= CHUNK:
                        await _write(writer, chunk)
                        size = 0
                await _write(writer, chunk)
    except OSError as error:
        log.debug("live events are not sent: %s", error)


async def _write(writer: asyncio.StreamWriter, chunk: list[bytes]) -> None:
    if writer.is_closing():
        raise ConnectionResetError("the link ended")
    writer.write(b"".join(chunk))
    chunk.clear()
    await writer.drain()


def line(row: Row) -> bytes:
    """Return the line of an event (meta.wire.link.Event)."""
    return b'{"up":"event","id":%d,"ts":%d,"event":%b}\n' % (row.id, row.ts, row.text.encode())
