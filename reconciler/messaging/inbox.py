"""What the receivers of one inbox share in this process; the messages themselves are in the database."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from reconciler.store.messages.rows import HandOut
from reconciler.store.messages.text import Delivery


@dataclass(slots=True, eq=False)
class Waiter:
    """A receiver that found nothing. Its future gets a message, or None: look again."""

    incarnation: str | None
    future: asyncio.Future[tuple[Delivery, HandOut] | None]


@dataclass(slots=True)
class Inbox:
    """`unseen`: what is being handed out and is not with its receiver yet. `changes` counts the calls of `wake`."""

    changes: int = 0
    interrupts: int = 0
    waiters: deque[Waiter] = field(default_factory=deque)
    unseen: set[HandOut] = field(default_factory=set)
    putting_back: set[asyncio.Task[None]] = field(default_factory=set)

    def wake(self) -> None:
        """Let every receiver that waits look again."""
        self.changes += 1
        while self.waiters:
            answer(self.waiters.popleft(), None)

    def claim(self) -> Waiter | None:
        """The receiver that has waited longest, who waits no more for others; None when there is none.

        None too while a message is on its way back: a younger one must not overtake it.
        """
        while self.waiters and not self.putting_back:
            waiter = self.waiters.popleft()
            if not waiter.future.done():
                return waiter
        return None

    def held(self, id: int) -> HandOut | None:
        """The hand-out of message `id`, while its receiver has not seen it."""
        return next((each for each in self.unseen if each.id == id), None)


def answer(waiter: Waiter, what: tuple[Delivery, HandOut] | None) -> bool:
    """Resolve the waiter; False when it is gone."""
    if waiter.future.done():
        return False
    waiter.future.set_result(what)
    return True
