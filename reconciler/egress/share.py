"""One agent's share of the time in which HTTP is parsed.

h11 takes about 25 microseconds for each piece of a body, however small it is, and for each header. Without a bound an
agent that sends bodies in pieces of one byte would stop the process for all the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVENTS = 32
"""Pieces of a body that are parsed in one step of the event loop."""
EVENTS_PER_SECOND = 5_000.0
"""Of all connections of one agent, both ways. A header counts as a piece does."""
EVENTS_AT_ONCE = 200.0
REQUEST = 20
"""What a request costs beside its headers, in pieces."""


class Share:
    """A token bucket of pieces. Its connections wait in line, so at most one of them is ahead of another agent."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = EVENTS_AT_ONCE
        self._at = clock()
        self._line = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until something may be parsed: by the caller, before it waits for anything else."""
        async with self._line:
            if (seconds := self._debt()) > 0:
                await asyncio.sleep(seconds)

    def spend(self, count: int) -> None:
        """Take what was parsed. It may be more than there is: the next one waits for it."""
        self._left -= count

    def _debt(self) -> float:
        now = self._clock()
        self._left = min(EVENTS_AT_ONCE, self._left + (now - self._at) * EVENTS_PER_SECOND)
        self._at = now
        return max(0.0, -self._left / EVENTS_PER_SECOND)
