"""Connections to hive's sockets, which come and go with the daemon while the harness stays."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

log = logging.getLogger(__name__)

LINE_LIMIT = 8 * 2**20
"""Bytes; a message of 1 MiB may be six times as long in JSON."""
FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Backoff:
    """Waits between tries: 0.05 s, doubling up to 2 s, and again from the start after `reset`."""

    def __init__(self) -> None:
        self.delay = FIRST_DELAY

    async def wait(self) -> None:
        """Wait, and wait longer the next time."""
        delay, self.delay = self.delay, min(self.delay * 2, LONGEST_DELAY)
        await asyncio.sleep(delay)

    def reset(self) -> None:
        """It worked."""
        self.delay = FIRST_DELAY


async def connect(path: Path, backoff: Backoff) -> Streams:
    """Connect, trying for ever: the daemon may be restarting. Only the first failure is logged."""
    told = False
    while True:
        try:
            return await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
        except OSError as error:
            if not told:
                log.info("%s does not answer (%s), trying on", path.name, error.strerror)
                told = True
        await backoff.wait()
