"""How long the event loop stood still: a clock on the loop that measures how late it comes.

A pause is either work in one callback or a wait for the disk or for a processor. So two times are kept: the lateness,
and the part of it in which the loop's own thread was running.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

INTERVAL = 0.25
"""Seconds between two looks: a pause is seen shortened by at most this much."""
WINDOW = 150.0
"""Seconds of one of the two windows that are remembered."""
WORTH_A_LINE = 1.0
"""Seconds from which on a pause is logged, once in each window."""


@dataclass(slots=True)
class Longest:
    """The longest pause and the longest part that was work of the loop's own thread, in seconds."""

    pause: float = 0.0
    busy: float = 0.0


class Pauses:
    """The longest pauses of the last minutes. `clock` and `processor` give seconds, of the world and of this thread."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, processor: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock = clock
        self._processor = processor
        self._since = clock()
        self._now, self._before = Longest(), Longest()
        self._logged = False

    def longest(self) -> Longest:
        """Return the longest of the last two windows."""
        return Longest(max(self._now.pause, self._before.pause), max(self._now.busy, self._before.busy))

    def note(self, late: float, worked: float) -> None:
        """Record that the loop came `late` seconds late, and that its thread `worked` since the last time."""
        if self._clock() - self._since >= WINDOW:
            self._since, self._before, self._now, self._logged = self._clock(), self._now, Longest(), False
        busy = min(late, worked)
        self._now.pause, self._now.busy = max(self._now.pause, late), max(self._now.busy, busy)
        if late >= WORTH_A_LINE and not self._logged:
            self._logged = True
            log.warning("the event loop stood still for %.1f s, %.1f s of it at work", late, busy)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due, worked = self._clock() + INTERVAL, self._processor()
            await asyncio.sleep(INTERVAL)
            self.note(max(0.0, self._clock() - due), self._processor() - worked)
