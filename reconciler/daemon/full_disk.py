"""The start of a daemon on a full disk: give the reserve back, and stop the agents that would use it up."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from meta.config import Config
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName
from meta.text import size
from reconciler.common.reserve import Reserve
from reconciler.common.tasks import Background
from reconciler.daemon import state_directory
from reconciler.daemon.choices import Choice, make_backend
from reconciler.observe.links import Links
from reconciler.upkeep.disk.guard import most_bytes
from reconciler.upkeep.disk.measure import measure

log = logging.getLogger(__name__)
SECONDS = 30.0
"""Seconds for stopping the agents that exceed their limit."""


async def relieve(layout: Layout, config: Config, choice: Choice) -> None:
    """Make room for a start. Without a database nothing is recorded: the daemon sees afterwards what it stopped."""
    reserve = Reserve(layout.reserve, config.reserve_mib * 2**20)
    try:
        async with asyncio.timeout(SECONDS):
            await _stop_the_largest(layout, config, choice, most_bytes(config, reserve.room()))
    except (HiveError, OSError, TimeoutError) as error:
        log.error("the agents that exceed their disk limit are not stopped: %s", error or "that takes too long")
    log.warning("the reserve gives back %s", size(await asyncio.to_thread(partial(reserve.give_back, all=True))))


async def _stop_the_largest(layout: Layout, config: Config, choice: Choice, limit: int | None) -> None:
    if limit is None or not layout.owner.is_file():
        return
    backend = make_backend(
        choice,
        layout,
        config,
        owner=state_directory.owner(layout.owner),
        links=Links(_drop),
        background=Background(),
    )
    await backend.open(_drop)
    try:
        running = [agent for agent in backend.names() if backend.observe(agent).running]
        for agent, measured in (await measure(layout, running)).items():
            if measured.bytes > limit or not measured.complete:
                log.error("%s is stopped: its files have %s, the limit is %s", agent, size(measured.bytes), size(limit))
                await backend.stop(agent, 0.0)
    finally:
        await backend.close()


def _drop(_agent: AgentName) -> None:
    """Ignore a hint: the daemon looks at every agent when it has started."""
