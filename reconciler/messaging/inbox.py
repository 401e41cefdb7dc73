"""The receivers of one inbox and their leases, in this process. The messages themselves are in the database."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from reconciler.store.messages.rows import Lease
from reconciler.store.messages.text import Delivery


@dataclass(slots=True, eq=False)
class Waiter:
    """A receiver that waits. Its future gets a message, or None if the receiver has to look again."""

    incarnation: str | None
    future: asyncio.Future[tuple[Delivery, Lease] | None]


@dataclass(slots=True)
class Inbox:
    """One inbox.

    `leases` are deliveries that have not reached their receivers yet. `changes` counts the calls of `wake`. `last` is a
    message that its receiver gave back so that it gets another one first.
    """

    changes: int = 0
    interrupts: int = 0
    waiters: deque[Waiter] = field(default_factory=deque)
    leases: set[Lease] = field(default_factory=set)
    releases: set[asyncio.Task[None]] = field(default_factory=set)
    last: int | None = None

    def wake(self) -> None:
        """Make every waiting receiver look again."""
        self.changes += 1
        while self.waiters:
            answer(self.waiters.popleft(), None)

    def claim(self) -> Waiter | None:
        """Take and return the receiver that has waited longest; None if no receiver waits.

        Also return None while a message is being released: a younger message must not overtake it.
        """
        while self.waiters and not self.releases:
            waiter = self.waiters.popleft()
            if not waiter.future.done():
                return waiter
        return None

    def lease_of(self, id: int) -> Lease | None:
        """Return the lease of message `id`, while its receiver does not have the message."""
        return next((each for each in self.leases if each.id == id), None)


def answer(waiter: Waiter, delivery: tuple[Delivery, Lease] | None) -> bool:
    """Resolve the waiter's future. Return False if the waiter has left."""
    if waiter.future.done():
        return False
    waiter.future.set_result(delivery)
    return True
