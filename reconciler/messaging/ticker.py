"""What is due at a time: one task that sleeps until the next, and looks again now and then, since clocks jump."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

from meta.errors import HiveError

log = logging.getLogger(__name__)
RELOOK = 30.0
"""Seconds at most between two looks: how late a jump of the clock, or an inbox with room again, is noticed."""
FAR = 2**63 - 1
"""The last second that a row can hold."""


class Due(Protocol):
    """Something with rows that become due."""

    async def do_due(self) -> int | None:
        """Do what is due; when the next is, in Unix seconds, None when nothing else waits."""

    def on_new(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever there is a new row."""


class Ticker:
    """One per daemon. `clock` gives Unix seconds."""

    def __init__(self, *sources: Due, clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock
        self._woken = asyncio.Event()
        for source in sources:
            source.on_new(self._woken.set)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            wait = await self._look()
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _look(self) -> float:
        """Do what is due everywhere; seconds until the next look."""
        wait = RELOOK
        for source in self._sources:
            try:
                due = await source.do_due()
            except HiveError as error:
                log.error("what is due cannot be done: %s (%s)", error.summary, error.hint)
            except Exception:
                log.exception("what is due cannot be done; the next try is in %g s", RELOOK)
            else:
                if due is not None:
                    wait = min(wait, due - self._clock())
        return max(0.0, wait)


def seconds_from(now: float, seconds: int) -> int:
    """The whole second that lies `seconds` after `now`, never before it; the last one there is for more than that."""
    return min(FAR, int(now) if seconds == 0 else math.ceil(now) + seconds)
