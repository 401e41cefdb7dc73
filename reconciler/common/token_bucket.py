"""Token buckets, which limit how often something may happen.

Pure except for `Allowance`, which has a bucket per agent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from meta.errors import TransientError
from meta.names import OPERATOR

MINUTE = 60.0

EVENTS_PER_MINUTE = 6
"""Events that one agent may cause per minute on average. The events that hive keeps then span weeks."""
EVENTS_AT_ONCE = 300
"""Events that one agent may cause at once, after 50 minutes without any."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The tokens that are left. It fills evenly, up to `most`, or to `per_minute` if `most` is None."""

    left: float
    at: float

    def take(self, now: float, per_minute: int, *, count: int = 1, most: int | None = None) -> tuple[Bucket, float]:
        """Take `count` tokens. Return the new bucket and 0.0, or the same bucket and the seconds until `count` tokens
        are there.
        """
        top = float(per_minute if most is None else most)
        left = min(top, self.left + max(0.0, now - self.at) * per_minute / MINUTE)
        if left >= count:
            return Bucket(left - count, now), 0.0
        return Bucket(left, now), (count - left) * MINUTE / per_minute


class Allowance:
    """The number of events that each agent may cause. The operator has no limit.

    `clock` gives seconds that only grow. The buckets are not stored across daemons.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def spend(self, name: str, count: int = 1) -> None:
        """Take `count` events of `name`. If that is too many, raise TransientError with the seconds to wait."""
        if wait := self._take(name, count):
            raise TransientError(
                f"{name} makes events too fast: at most {EVENTS_AT_ONCE} at once and {EVENTS_PER_MINUTE} a minute",
                f"try again in {ceil(wait)} s; messages between agents have no such limit",
                retry_after=wait,
            )

    def left(self, name: str) -> int:
        """Return how many events `name` may cause now.

        For changes that happen anyway; call `note` afterwards.
        """
        self._take(name, 0)
        return EVENTS_AT_ONCE if name == OPERATOR else int(self._buckets[name].left)

    def note(self, name: str, count: int) -> None:
        """Take `count` events that have happened, but at most those that are left."""
        self._take(name, min(count, self.left(name)))

    def _take(self, name: str, count: int) -> float:
        if name == OPERATOR:
            return 0.0
        now = self._clock()
        bucket = self._buckets.get(name, Bucket(float(EVENTS_AT_ONCE), now))
        self._buckets[name], wait = bucket.take(now, EVENTS_PER_MINUTE, count=count, most=EVENTS_AT_ONCE)
        return wait
