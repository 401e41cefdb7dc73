"""The slots for fetches of proposals, divided by principal: nobody waits behind another one's slow repo.

Each fetch runs two git processes that may take 2 GiB of memory, so few run at the same time. A repo that keeps hive
waiting holds a slot until its deadline. It is the slot of the principal who brought the commit, and of one agent only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meta.names import MANAGER, OPERATOR, AgentName

SLOTS = {OPERATOR: 2, "push": 1, MANAGER: 1}
"""Fetches at the same time, by who brought the commit: with `hive propose`, with `git push`, or in a work tree."""


class Fetches:
    """The slots of one daemon."""

    def __init__(self) -> None:
        self._lanes = {name: asyncio.Semaphore(count) for name, count in SLOTS.items()}
        self._turns: dict[tuple[str, AgentName], asyncio.Lock] = {}
        self._users: Counter[tuple[str, AgentName]] = Counter()

    @asynccontextmanager
    async def slot(self, by: str, agent: AgentName) -> AsyncIterator[None]:
        """Wait for a slot of the principal `by`, as tags record it, and hold it. Of one agent it has one at a time."""
        lane = _lane(by)
        key = lane, agent
        turn = self._turns.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with turn, self._lanes[lane]:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._turns[key]


def _lane(by: str) -> str:
    """Return the principal in a text such as "operator uid 1000" or "push by uid 7"; an unknown one is an agent."""
    first = by.partition(" ")[0]
    return first if first in SLOTS else MANAGER
