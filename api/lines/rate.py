"""How fast one peer may send. What is over the rate waits in the socket, so that the peer has to wait, too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

BYTES_PER_SECOND = 2**20
BURST_BYTES = 4 * 2**20
LINE_BYTES = 1024
"""Bytes that a line counts for at least. So a peer sends at most a thousand lines per second for long."""


class Rate:
    """The bucket of one peer. It begins full."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens = float(BURST_BYTES)
        self._at = clock()

    def take(self, size: int) -> float:
        """Count a line of `size` bytes. Return the seconds to wait before the next line is read."""
        now = self._clock()
        self._tokens = min(BURST_BYTES, self._tokens + (now - self._at) * BYTES_PER_SECOND)
        self._at = now
        self._tokens -= max(size, LINE_BYTES)
        return max(0.0, -self._tokens / BYTES_PER_SECOND)

    async def wait(self, size: int) -> None:
        """Count a line of `size` bytes, and wait as long as it takes. Other tasks get a turn in any case."""
        await asyncio.sleep(self.take(size))
