"""Token buckets: how often something may happen. Pure, but for `Allowance`, which has one for each agent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from meta.errors import TransientError
from meta.names import OPERATOR

MINUTE = 60.0

EVENTS_PER_MINUTE = 6
"""Events that one agent may bring about, as long as it likes: what is kept of them (eventlog.KEEP) then spans weeks."""
EVENTS_AT_ONCE = 300
"""And as many as that at once, after a rest of 50 minutes."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """How often it may happen now. It fills evenly, up to `per_minute` or, where that is told, `most`."""

    left: float
    at: float

    def take(self, now: float, per_minute: int, *, count: int = 1, most: int | None = None) -> tuple[Bucket, float]:
        """`count` less, and 0.0; or the same and how many seconds to wait for as many."""
        top = float(per_minute if most is None else most)
        left = min(top, self.left + max(0.0, now - self.at) * per_minute / MINUTE)
        if left >= count:
            return Bucket(left - count, now), 0.0
        return Bucket(left, now), (count - left) * MINUTE / per_minute


class Allowance:
    """What each agent may bring about in hive's sequence of events; the operator has no bound.

    `clock` gives seconds that only grow. What is left is not kept across daemons.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def spend(self, name: str, count: int = 1) -> None:
        """`count` events are to come. Raises TransientError, with the seconds to wait, when that is too much."""
        if wait := self._take(name, count):
            raise TransientError(
                f"{name} makes events too fast: {EVENTS_AT_ONCE} at once and {EVENTS_PER_MINUTE} a minute are the most",
                f"try again in {ceil(wait)} s; messages between agents have no such limit",
                retry_after=wait,
            )

    def left(self, name: str) -> int:
        """How many may come now: for what happens anyhow, and is told only if so; then `note` says how many came."""
        self._take(name, 0)
        return EVENTS_AT_ONCE if name == OPERATOR else int(self._buckets[name].left)

    def note(self, name: str, count: int) -> None:
        """`count` events, of those that were left, have come."""
        self._take(name, min(count, self.left(name)))

    def _take(self, name: str, count: int) -> float:
        if name == OPERATOR:
            return 0.0
        now = self._clock()
        bucket = self._buckets.get(name, Bucket(float(EVENTS_AT_ONCE), now))
        self._buckets[name], wait = bucket.take(now, EVENTS_PER_MINUTE, count=count, most=EVENTS_AT_ONCE)
        return wait
