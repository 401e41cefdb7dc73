"""The parts and values that apply, the loop, the commands and the queries share. The daemon makes one of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from meta.applied.repo import Applied
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from meta.model import ContainerSettings
from meta.names import AgentName
from meta.process.recorder import Recorder
from reconciler.events.feed import Events
from reconciler.messaging.broker import Broker
from reconciler.network.operator import OperatorSettings
from reconciler.observe.drains import Drains
from reconciler.observe.holds import Holds
from reconciler.observe.links import Links
from reconciler.observe.memory import Memory
from reconciler.observe.observer import Observer
from reconciler.observe.previews import Previews
from reconciler.observe.repos import Repos
from reconciler.plan.observed import Launch
from reconciler.ports import Sockets
from reconciler.store.cards import Cards
from reconciler.telemetry.metrics import Metrics
from reconciler.upkeep.disk.guard import Disk


@dataclass(frozen=True, slots=True)
class World:
    """The shared parts. `clock` gives Unix seconds. `as_root`: hive can give files to other uids.

    Each of `on_launch` is called before a container starts, after each of `on_start`.

    `previews` are those of open proposals; None if the builder makes none. `builds` limits the builds that run at one
    time. Each of `on_start` is called with the name of an agent before its container starts, each of `on_destroy` with
    that of an agent that is destroyed, each of `on_purge` with that of a purged one. `own_ranges`: the backend gives
    every container a uid range of its own, even if hive is not root. `network` has the operator's settings for the way
    out.
    """

    layout: Layout
    config: Config
    meta: MetaRepo
    repos: Repos
    observer: Observer
    previews: Previews | None
    links: Links
    drains: Drains
    holds: Holds
    sockets: Sockets
    memory: Memory
    cards: Cards
    events: Events
    broker: Broker
    recorder: Recorder
    metrics: Metrics
    as_root: bool
    own_ranges: bool
    on_destroy: tuple[Callable[[AgentName], Awaitable[None]], ...]
    builds: asyncio.Semaphore
    disk: Disk
    network: OperatorSettings
    on_purge: tuple[Callable[[AgentName], Awaitable[None]], ...] = ()
    on_start: tuple[Callable[[AgentName], Awaitable[None]], ...] = ()
    on_launch: tuple[Callable[[AgentName, Launch], Awaitable[None]], ...] = ()
    clock: Callable[[], float] = time.time
    _decisions: dict[AgentName, asyncio.Lock] = field(default_factory=dict)
    _push_repos: dict[AgentName, asyncio.Lock] = field(default_factory=dict)

    async def forget(self, agent: AgentName) -> None:
        """Drop a destroyed agent, with its questions and reminders."""
        self.repos.forget(agent)
        for on_destroy in self.on_destroy:
            await on_destroy(agent)

    async def abandon(self, agent: AgentName) -> None:
        """Close the questions to an agent whose spawn failed, and make dead letters of what waits for it."""
        for on_destroy in self.on_destroy:
            await on_destroy(agent)
        await self.broker.abandon(agent, "its spawn failed")

    def decision(self, agent: AgentName) -> asyncio.Lock:
        """Return the lock to hold while the end of an id is decided: by the meta commit, or by cancel and destroy."""
        return self._decisions.setdefault(agent, asyncio.Lock())

    def push_repo(self, agent: AgentName) -> asyncio.Lock:
        """Return the lock to hold while the push repo is brought to what is deployed: two looks would meet there."""
        return self._push_repos.setdefault(agent, asyncio.Lock())

    def applied(self, agent: AgentName) -> Applied:
        """Return the agent's applied repo."""
        return self.repos(agent)

    def uid(self, settings: ContainerSettings) -> int | None:
        """Return the uid that owns the agent's files and sockets; None if hive cannot give files to other uids."""
        return settings.uid_base if self.as_root and self.config.fixed_uids else None

    def peers(self, settings: ContainerSettings) -> int | None:
        """Return the first uid of the range of the agent's processes; None if they run as the daemon's own user."""
        return settings.uid_base if self.own_ranges else self.uid(settings)

    @property
    def gives_through_helper(self) -> bool:
        """True if hive's files for an agent belong to another uid, and only the helper can change their owner."""
        return self.own_ranges and not self.as_root

    def now(self) -> int:
        """Return the present time in whole Unix seconds."""
        return int(self.clock())
