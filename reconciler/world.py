"""Everything that apply, the loop and the service share: one of each, made by the daemon."""

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
from reconciler.common.tasks import Background
from reconciler.events.feed import Events
from reconciler.messaging.broker import Broker
from reconciler.observe.build_logs import BuildLogs
from reconciler.observe.links import Links
from reconciler.observe.memory import Memory
from reconciler.observe.observer import Observer
from reconciler.ports import Sockets
from reconciler.store.cards import Cards
from reconciler.telemetry.metrics import Metrics


@dataclass(slots=True)
class World:
    """The parts. `clock` gives Unix seconds; `as_root` says whether uids can be handed out.

    `builds` and `previews`: at the same time; what nobody approved never takes the place of what was.
    `forgetters` are called with the name of an agent that is destroyed.
    `own_ranges`: the backend gives every container its uid range whoever the daemon is.
    """

    layout: Layout
    config: Config
    revision: str
    meta: MetaRepo
    observer: Observer
    links: Links
    sockets: Sockets
    memory: Memory
    cards: Cards
    events: Events
    broker: Broker
    as_root: bool
    own_ranges: bool
    recorder: Recorder
    build_logs: BuildLogs = field(default_factory=BuildLogs)
    metrics: Metrics = field(default_factory=Metrics)
    background: Background = field(default_factory=Background)
    clock: Callable[[], float] = time.time
    forgetters: tuple[Callable[[AgentName], Awaitable[None]], ...] = ()
    previews: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    builds: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    _decisions: dict[AgentName, asyncio.Lock] = field(default_factory=dict)

    async def forget(self, agent: AgentName) -> None:
        """A destroyed agent: what agents asked of each other and of hive does not wait for it any more."""
        for forgetter in self.forgetters:
            await forgetter(agent)

    def decision(self, agent: AgentName) -> asyncio.Lock:
        """Held while an id's end is decided: the meta commit on one side, cancel and destroy on the other."""
        return self._decisions.setdefault(agent, asyncio.Lock())

    def applied(self, agent: AgentName) -> Applied:
        """The agent's applied repo."""
        return self.observer.repo(agent)

    def uid(self, settings: ContainerSettings) -> int | None:
        """The uid that the agent's files and sockets belong to; None where uids cannot be handed out."""
        return settings.uid_base if self.as_root and self.config.fixed_uids else None

    def peers(self, settings: ContainerSettings) -> int | None:
        """First uid of the range that the agent's processes have; None where they run as the daemon's own user."""
        return settings.uid_base if self.own_ranges else self.uid(settings)

    @property
    def gives_through_helper(self) -> bool:
        """Whether what hive makes for an agent belongs to another uid that hive cannot hand it to by itself."""
        return self.own_ranges and not self.as_root

    def now(self) -> int:
        """Unix seconds, whole."""
        return int(self.clock())
