"""One task for all rows that become due.

It sleeps until the next row is due, but at most RELOOK seconds, because clocks jump.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

from meta.errors import HiveError
from reconciler.common.rounds import Rounds

log = logging.getLogger(__name__)
RELOOK = 30.0
"""Seconds between two looks, at most. A jump of the clock, or room in an inbox, is noticed with this delay."""
FAR = 2**63 - 1
"""The last second that a row can hold."""


class Due(Protocol):
    """A source of rows that become due."""

    async def do_due(self) -> int | None:
        """Handle every due row. Return when the next one is due, in Unix seconds; None if no row waits."""

    def on_new(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever there is a new row."""


class Ticker:
    """The task of one daemon. `clock` gives Unix seconds."""

    def __init__(self, *sources: Due, rounds: Rounds, clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._rounds = rounds
        self._clock = clock
        self._woken = asyncio.Event()
        for source in sources:
            source.on_new(self._woken.set)

    async def run(self) -> None:
        """Handle due rows until cancelled. An error is logged, and status shows it."""
        while True:
            self._woken.clear()
            wait = await self._look()
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _look(self) -> float:
        """Handle due rows of every source. Return the seconds until the next look."""
        wait = RELOOK
        failed: Exception | None = None
        for source in self._sources:
            try:
                due = await source.do_due()
            except HiveError as error:
                failed = error
                log.error("due rows cannot be handled: %s (%s)", error.summary, error.hint)
            except Exception as error:
                failed = error
                log.exception("due rows cannot be handled; the next try is in %g s", RELOOK)
            else:
                if due is not None:
                    wait = min(wait, due - self._clock())
        if failed is None:
            self._rounds.succeed()
        else:
            self._rounds.fail(failed)
        return max(0.0, wait)


def seconds_from(now: float, seconds: int) -> int:
    """Return the whole second at or after `seconds` from `now`; at most FAR."""
    return min(FAR, int(now) if seconds == 0 else math.ceil(now) + seconds)
