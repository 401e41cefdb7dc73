"""A number that grows with each change of the report, and a wait for the next one."""

from __future__ import annotations

import asyncio
import contextlib


class Changes:
    """The number of the last change. A reader that waits with the number it saw misses none."""

    def __init__(self) -> None:
        self.number = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def note(self) -> None:
        """Note a change, and wake those who wait."""
        self.number += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def after(self, number: int) -> int:
        """Wait for a change after `number`. Return the number of the last one."""
        while self.number <= number:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                with contextlib.suppress(KeyError):
                    self._waiters.remove(waiter)
        return self.number
