"""Who may ask the resolver now. A question takes a thread, and the host has only so many of them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from reconciler.egress.limits import RESOLUTIONS, RESOLUTIONS_PER_AGENT


class Places:
    """The questions of all agents.

    An agent's first question is asked at once, whatever the others wait for. Its further ones share a bound with
    those of all agents. So agents whose names are never answered slow each other down, and no other agent.
    """

    def __init__(self) -> None:
        self._busy: Counter[object] = Counter()
        self._waiting: dict[object, deque[asyncio.Future[None]]] = {}

    async def take(self, asker: object) -> None:
        """Wait for a place. `asker` stands for one agent."""
        if asker not in self._waiting and self._has_place(asker):
            self._busy[asker] += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asker, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give(asker)
            else:
                self._forget(asker, place)
            raise

    def give(self, asker: object) -> None:
        """Give a place back: the next questions have it, those of each agent in its turn."""
        self._busy[asker] -= 1
        if not self._busy[asker]:
            del self._busy[asker]
        for other in list(self._waiting):
            if self._has_place(other):
                self._next(other)

    def _has_place(self, asker: object) -> bool:
        busy = self._busy[asker]  # a Counter does not keep what is only read
        return busy == 0 or (busy < RESOLUTIONS_PER_AGENT and self._busy.total() < RESOLUTIONS)

    def _next(self, asker: object) -> None:
        questions = self._waiting.pop(asker)
        place = questions.popleft()
        if questions:
            self._waiting[asker] = questions  # behind the others, so that it is the last one to have another
        self._busy[asker] += 1
        place.set_result(None)

    def _forget(self, asker: object, place: asyncio.Future[None]) -> None:
        questions = self._waiting[asker]
        questions.remove(place)
        if not questions:
            del self._waiting[asker]
