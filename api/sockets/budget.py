"""Bytes of requests and answers that the daemon keeps for its peers: bounded for each agent, and over all.

A `Hold` is what one connection makes the daemon keep. The first FREE bytes of each count for nothing: an agent has few
connections, so it always gets a short request in. If the whole is used up, the agent that uses most gives way: its
largest unfinished request is dropped.
"""

from __future__ import annotations

from collections.abc import Callable

from meta.errors import TransientError

FREE = 64 * 1024
"""Bytes of one connection that are not counted."""


def refusal() -> TransientError:
    """Return the error for a request that does not fit now."""
    return TransientError(
        "hive keeps too many bytes of unfinished requests", "finish the others first, or try again soon", 1.0
    )


class Budget:
    """The bytes of all shares together."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shares: set[Share] = set()
        self.used = 0

    def share(self, most: int) -> Share:
        """Return the share of one agent, of at most `most` bytes."""
        return Share(self, most)

    def make_room(self, share: Share, count: int) -> bool:
        """Return True if `share` may use `count` bytes more. Larger shares give way."""
        while self.used + count > self._total:
            largest = max(self._shares, key=lambda each: each.used, default=share)
            if largest is share or largest.used < share.used + count or not largest.drop_largest():
                return False
        return True

    def add(self, share: Share, count: int) -> None:
        """Count bytes that `share` uses more, or less, if negative."""
        self.used += count
        (self._shares.add if share.used else self._shares.discard)(share)


class Share:
    """The bytes of one agent."""

    def __init__(self, budget: Budget, most: int) -> None:
        self._budget = budget
        self._most = most
        self._holds: set[Hold] = set()
        self.used = 0

    def hold(self, drop: Callable[[], None] | None = None) -> Hold:
        """Return a hold of nothing. `drop` is called when what it holds has to go; it then counts for nothing."""
        return Hold(self, drop)

    def resize(self, hold: Hold, before: int, after: int) -> bool:
        """Count `after` bytes of a hold instead of `before`. Return False, and change nothing, if that is too much."""
        count = after - before
        if count > 0 and (self.used + count > self._most or not self._budget.make_room(self, count)):
            return False
        self.used += count
        self._budget.add(self, count)
        (self._holds.add if after else self._holds.discard)(hold)
        return True

    def drop_largest(self) -> bool:
        """Drop the largest request that is not finished. Return False if there is none."""
        droppable = [(hold.counted, hold.drop, hold) for hold in self._holds if hold.drop is not None]
        if not droppable:
            return False
        _, drop, largest = max(droppable, key=lambda each: each[0])
        largest.resize(0)
        drop()
        return True


class Hold:
    """What one connection makes the daemon keep. `drop` is None while it cannot be dropped."""

    def __init__(self, share: Share | None, drop: Callable[[], None] | None = None) -> None:
        self._share = share
        self.drop = drop
        self.counted = 0

    def resize(self, size: int) -> bool:
        """Hold `size` bytes. Return False, and hold what was held before, if that is too much."""
        after = max(0, size - FREE)
        if self._share is not None and after != self.counted:
            before = self.counted
            if not self._share.resize(self, before, after):
                return False
            self.counted = after
        return True
