"""The start of a daemon on a full disk: free the reserve, and stop the agents that would use it up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName
from meta.text import size
from reconciler.common.reserve import Reserve, Room
from reconciler.common.tasks import Background
from reconciler.daemon import state_directory
from reconciler.daemon.choices import Choice, make_backend
from reconciler.observe.links import Links
from reconciler.plan.full_disk import compare
from reconciler.upkeep.disk.limits import limits_of, use_of
from reconciler.upkeep.disk.measure import measure

log = logging.getLogger(__name__)
SECONDS = 30.0
"""Seconds for stopping the agents that exceed their limit."""


async def relieve(layout: Layout, config: Config, choice: Choice) -> None:
    """Make room for a start. Without a database nothing is recorded: the daemon sees afterwards what it stopped."""
    reserve = Reserve(layout.reserve, config.reserve_mib * 2**20)
    try:
        async with asyncio.timeout(SECONDS):
            await _stop_those_over(layout, config, choice, reserve.room())
    except (HiveError, OSError, TimeoutError) as error:
        log.error("the agents that exceed their disk limit are not stopped: %s", error or "that takes too long")
    log.warning("the reserve frees %s", size(await asyncio.to_thread(partial(reserve.give_back, all=True))))


async def _stop_those_over(layout: Layout, config: Config, choice: Choice, room: Room) -> None:
    """Stop the agents that exceed their own limit or, without one, the general limit, or that cannot be counted."""
    if not layout.owner.is_file():
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
        pids = {agent: pid for agent in backend.names() if (pid := backend.observe(agent).pid) is not None}
        own = await _own_limits(layout, config) if pids else {}
        for agent, measured in (await measure(layout, pids, pids)).items():
            use = use_of(measured, limits_of(config, room, own.get(agent)), full=True)
            if use.over:
                log.error("%s is stopped: %s", agent, compare(use))
                await backend.stop(agent, 0.0)
    finally:
        await backend.close()


async def _own_limits(layout: Layout, config: Config) -> Mapping[AgentName, int | None]:
    """Return the limits in MiB that meta gives to agents. If meta cannot be read, the general limit counts for all."""
    try:
        view = await MetaRepo(layout, config=config, deadline=config.git_deadline).read()
    except HiveError as error:
        log.warning("meta cannot be read, so the general disk limit counts for every agent: %s", error)
        return {}
    return {name: entry.settings.limits.disk_mib for name, entry in view.desired.agents.items()}


def _drop(_agent: AgentName) -> None:
    """Ignore a hint: the daemon looks at every agent when it has started."""
