"""Keep the shared inputs of meta's `main` those that are configured, from the start of the daemon on."""

from __future__ import annotations

import asyncio
import logging

from meta.errors import HiveError
from reconciler.common.rounds import Rounds
from reconciler.loop.loop import Reconciler
from reconciler.world import World

log = logging.getLogger(__name__)


class Inputs:
    """The watch over the shared inputs of one daemon. `run` until cancelled."""

    def __init__(self, world: World, loop: Reconciler, rounds: Rounds) -> None:
        self._world = world
        self._loop = loop
        self._rounds = rounds

    async def run(self) -> None:
        """Look now and every `resync` seconds, until cancelled. An error is logged, and status shows it."""
        while True:
            try:
                await self.look()
            except HiveError as error:
                self._rounds.fail(error)
                log.error("cannot lock the shared inputs of meta: %s (%s)", error.summary, error.hint)
            else:
                self._rounds.succeed()
            await asyncio.sleep(self._world.config.resync)

    async def look(self) -> None:
        """Make the inputs those that are configured. If they became known or changed, look at every agent."""
        world = self._world
        known = world.meta.settled
        if not await world.meta.settle(world.now()) and known:
            return
        await world.observer.desired()
        for agent in world.observer.names():
            self._loop.hint(agent)
