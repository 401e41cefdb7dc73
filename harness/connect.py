"""Connections to hive's sockets. The daemon may restart at any time; the harness keeps running."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

log = logging.getLogger(__name__)

LINE_LIMIT = 8 * 2**20
"""Bytes of one line. A message of 1 MiB may be six times as long in JSON."""
FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Backoff:
    """The delays between tries: 0.05 s, doubling up to 2 s. `reset` starts again."""

    def __init__(self) -> None:
        self.delay = FIRST_DELAY

    async def wait(self) -> None:
        """Wait, and double the next delay."""
        delay, self.delay = self.delay, min(self.delay * 2, LONGEST_DELAY)
        await asyncio.sleep(delay)

    def reset(self) -> None:
        """Start again with the shortest delay."""
        self.delay = FIRST_DELAY


async def connect(path: Path, backoff: Backoff) -> Streams:
    """Connect to the socket. Retry for ever, because the daemon may be restarting. Log only the first failure."""
    logged = False
    while True:
        try:
            return await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
        except OSError as error:
            if not logged:
                log.info("%s does not answer (%s), retrying", path.name, error.strerror)
                logged = True
        await backoff.wait()
