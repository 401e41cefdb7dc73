"""After a deploy: report which other proposals of the agent are stale now, and that hive can replay them."""

from __future__ import annotations

from collections.abc import Iterable

from meta.model import Deploy
from meta.names import AgentName, Sha
from reconciler.proposals.staleness import Stale
from reconciler.store.events import keys
from reconciler.world import World

OFFER = "`hive rebase ID` replays one onto what the agent runs now"


class Offers:
    """Publishes one event for each deployed commit that made proposals stale."""

    def __init__(self, world: World, stale: Stale) -> None:
        self._world = world
        self._stale = stale
        self._offered: dict[AgentName, Sha] = {}

    async def look(self, agent: AgentName, deploys: Iterable[Deploy]) -> None:
        """Publish the stale proposals of `agent`, unless that was done since the last deploy."""
        main = await self._world.applied(agent).main()
        if main is None or self._offered.get(agent) == main:
            return
        ids = await self._stale.of(agent, deploys)
        if ids:
            data = {"ids": sorted(ids), "main": main, "remedy": OFFER}
            await self._world.events.append("proposals_stale", agent, data, key=keys.stale(agent, main))
        self._offered[agent] = main

    def forget(self, agent: AgentName) -> None:
        """Drop what is known of a destroyed agent."""
        self._offered.pop(agent, None)
