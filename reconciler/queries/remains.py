"""What destroyed agents left: their home, their messages, their generations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName
from reconciler.store.events.log import Filter
from reconciler.upkeep.disk.measure import measure
from reconciler.views import Remains
from reconciler.world import World

if TYPE_CHECKING:
    from meta.model import Tombstone

log = logging.getLogger(__name__)

PATIENCE = 0.3
"""Seconds that an answer waits for sizes. They are measured on, and a later answer has them."""
EVENTS = 1_000
"""Ends of agents that are looked for, the newest ones. Of an older one the time is unknown."""


class RemainsQuery:
    """The query. What a destroyed agent left does not change, so each is measured once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sizes: dict[AgentName, tuple[Tombstone, int | None]] = {}
        self._measuring: asyncio.Task[None] | None = None

    async def __call__(self) -> list[Remains]:
        """Return what is left of each destroyed agent, by name."""
        desired = await self._world.observer.desired()
        tombs = {name: tomb for name, tomb in desired.tombstones.items() if name not in desired.agents}
        if not tombs:
            return []
        await self._measure(tombs)
        ended = await self._world.events.matching(None, EVENTS, Filter(None, frozenset({"agent_destroyed"})))
        at = {event.agent: event.at for event in ended}
        messages = await self._world.broker.kept(tombs)
        generations = await asyncio.to_thread(_generations, self._world.layout, tuple(tombs))
        return [
            Remains(
                agent=name,
                at=at.get(name),
                deployed=tomb.pin.id,
                home_bytes=self._sizes[name][1] if name in self._sizes else None,
                messages=messages.get(name, 0),
                generations=generations[name],
                purging=tomb.purge,
            )
            for name, tomb in sorted(tombs.items())
        ]

    async def _measure(self, tombs: dict[AgentName, Tombstone]) -> None:
        """Measure what was not measured yet, for at most PATIENCE seconds in the foreground."""
        self._sizes = {name: size for name, size in self._sizes.items() if tombs.get(name) == size[0]}
        missing = {name: tomb for name, tomb in tombs.items() if name not in self._sizes and not tomb.purge}
        if self._measuring is None or self._measuring.done():
            if not missing:
                return
            self._measuring = asyncio.create_task(self._measure_now(missing), name="remains")
        await asyncio.wait([self._measuring], timeout=PATIENCE)

    async def _measure_now(self, tombs: dict[AgentName, Tombstone]) -> None:
        try:
            sizes = await measure(self._world.layout, tombs)
        except (HiveError, OSError) as error:
            log.warning("what destroyed agents left cannot be measured: %s", error, extra={"limited": "remains"})
            sizes = {}
        for name, tomb in tombs.items():
            size = sizes.get(name)
            self._sizes[name] = (tomb, size.bytes if size is not None and size.complete else None)


def _generations(layout: Layout, names: Collection[AgentName]) -> dict[AgentName, int]:
    """Return how many generations are on the disk of each agent."""
    counts = {}
    for name in names:
        try:
            counts[name] = sum(1 for _ in layout.generations(name).iterdir())
        except OSError:  # there are none, or they are being purged
            counts[name] = 0
    return counts
