"""Connections to hive's sockets: they come back by themselves after a daemon restart."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

LINE_LIMIT = 16 * 2**20
"""Bytes of one line; far above what hive sends (1 MiB by default)."""

_ADDRESS_LIMIT = 107
"""Bytes of a unix socket's address."""

_CONNECT_SECONDS = 10.0


class Backoff:
    """Waits that double from `first` to `most` seconds, until something worked."""

    def __init__(self, first: float = 0.05, most: float = 2.0) -> None:
        self._first = first
        self._most = most
        self._next = first

    def reset(self) -> None:
        """It worked: begin again with the shortest wait."""
        self._next = self._first

    async def pause(self) -> None:
        """Wait; the next wait is twice as long."""
        wait, self._next = self._next, min(self._next * 2, self._most)
        await asyncio.sleep(wait)


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the socket at `path`, of any length. OSError (also a timeout) when there is none."""
    async with asyncio.timeout(_CONNECT_SECONDS):
        if len(os.fsencode(path)) <= _ADDRESS_LIMIT:
            return await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return await asyncio.open_unix_connection(f"/proc/self/fd/{directory}/{path.name}", limit=LINE_LIMIT)
        finally:
            os.close(directory)
