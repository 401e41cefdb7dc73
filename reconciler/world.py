"""Everything that apply, the loop, the commands and the queries share: one of each, made by the daemon."""

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
from reconciler.observe.links import Links
from reconciler.observe.memory import Memory
from reconciler.observe.observer import Observer
from reconciler.observe.previews import Previews
from reconciler.observe.repos import Repos
from reconciler.ports import Sockets
from reconciler.store.cards import Cards
from reconciler.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class World:
    """The parts. `clock` gives Unix seconds; `as_root` says whether uids can be handed out.

    `previews`: what open proposals would become, None if the builder cannot say. `builds` limits builds at one time.
    `on_destroy` are called with the name of an agent that is destroyed.
    `own_ranges`: the backend gives every container a uid range of its own, root or not.
    """

    layout: Layout
    config: Config
    meta: MetaRepo
    repos: Repos
    observer: Observer
    previews: Previews | None
    links: Links
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
    clock: Callable[[], float] = time.time
    _decisions: dict[AgentName, asyncio.Lock] = field(default_factory=dict)

    async def forget(self, agent: AgentName) -> None:
        """Forget a destroyed agent: questions and reminders do not wait for it any more."""
        self.repos.forget(agent)
        for on_destroy in self.on_destroy:
            await on_destroy(agent)

    def decision(self, agent: AgentName) -> asyncio.Lock:
        """Return the lock held while an id's end is decided: by the meta commit, or by cancel and destroy."""
        return self._decisions.setdefault(agent, asyncio.Lock())

    def applied(self, agent: AgentName) -> Applied:
        """Return the agent's applied repo."""
        return self.repos(agent)

    def uid(self, settings: ContainerSettings) -> int | None:
        """Return the uid that owns the agent's files and sockets; None if uids cannot be handed out."""
        return settings.uid_base if self.as_root and self.config.fixed_uids else None

    def peers(self, settings: ContainerSettings) -> int | None:
        """Return the first uid of the range of the agent's processes; None if they run as the daemon's own user."""
        return settings.uid_base if self.own_ranges else self.uid(settings)

    @property
    def gives_through_helper(self) -> bool:
        """True if what hive makes for an agent belongs to another uid, and hive cannot hand it over by itself."""
        return self.own_ranges and not self.as_root

    def now(self) -> int:
        """Return Unix seconds, whole."""
        return int(self.clock())
