"""The composition root: makes one of each part, recovers what an earlier daemon left, and runs the loop.

Order at start: lock the state directory, end what an earlier daemon left running, remove stale locks of hive's own
repos, open the store, meta and the backend, then look at everything. Agents are never touched by a start or a stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from meta.agent_toml.settings import SETTINGS_FILE
from meta.applied.repo import Applied
from meta.config import Config
from meta.desired.repo import LockFlake, MetaRepo
from meta.errors import Conflict, HiveError, NotFound, PermanentError, Refused
from meta.layout import Layout
from meta.names import MANAGER, AgentName, Sha
from meta.nix import find as find_nix
from meta.process.recorder import Recorder
from meta.proposed import push_group
from reconciler.agents.lifecycle import Service
from reconciler.agents.updates import Updates
from reconciler.apply.apply import Apply
from reconciler.backends.base import Backend
from reconciler.backends.fake import FakeBackend
from reconciler.backends.local.backend import LocalBackend
from reconciler.builders.base import Builder
from reconciler.builders.plain import PlainBuilder
from reconciler.common.revision import revision
from reconciler.common.tasks import Background, Ended
from reconciler.daemon import state_directory
from reconciler.daemon.lock import take_lock
from reconciler.events.feed import Events
from reconciler.loop.loop import Reconciler
from reconciler.messaging.attach import attach
from reconciler.messaging.broker import Broker, Quota
from reconciler.messaging.cleaning import hourly
from reconciler.messaging.recipients import Recipients
from reconciler.messaging.ticker import Ticker
from reconciler.observe.build_logs import BuildLogs
from reconciler.observe.links import Links
from reconciler.observe.memory import Memory
from reconciler.observe.observer import Observer, Sources
from reconciler.observe.previews import Previews
from reconciler.observe.settings import DeployedSettings
from reconciler.plan.plan import plan
from reconciler.ports import Sockets
from reconciler.privileged.client import Client
from reconciler.proposals.discovery import Discovery
from reconciler.queries.reports import plan_row
from reconciler.store import damaged
from reconciler.store.cards import Cards
from reconciler.store.database import Database
from reconciler.store.memos import Memos
from reconciler.store.seen_tips import SeenTips
from reconciler.telemetry.metrics import Metrics
from reconciler.views import PlanRow
from reconciler.world import World

log = logging.getLogger(__name__)
RECOVERY_DEADLINE = 15.0
LOCK_DEADLINE = 60.0
RECORD_DEADLINE = 5.0
"""Seconds for the event of a failure: a store that hangs must not keep a broken daemon from ending."""
BACKENDS = ("local", "fake", "nixos")
BUILDERS = ("plain", "nix")
RUNS = {"local": ("plain",), "nixos": ("nix",), "fake": BUILDERS}
"""What each backend can run: `local` binds a checked-out tree, `nixos` boots a system."""


class Daemon:
    """One running hive. `open`, then `start`, then `close`; `service` is there after `open`."""

    service: Service
    world: World
    reconciler: Reconciler
    backend: Backend
    updates: Updates

    def __init__(
        self, layout: Layout, config: Config, sockets: Sockets, *, backend: str = "local", builder: str = "plain"
    ) -> None:
        self._layout = layout
        self._config = config
        self._sockets = sockets
        self._names = _pair(_known("backend", backend, BACKENDS), _known("builder", builder, BUILDERS))
        self._lock: int | None = None
        self._database: Database | None = None
        self._build_logs = BuildLogs()
        self._ticker = Ticker()
        self._background = Background()
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        self._recorded = False

    @property
    def _own_ranges(self) -> bool:
        return self._names[0] == "nixos"

    async def open(self) -> None:
        """Take the lock, recover, open everything. Raises Conflict when another daemon has the state directory."""
        self._refuse_another_backends()
        try:
            self._layout.state.mkdir(mode=state_directory.STATE_MODE, parents=True, exist_ok=True)
            self._lock = take_lock(self._layout.lock)
            state_directory.prepare(self._layout)
        except OSError as error:
            where = error.filename or self._layout.state
            raise PermanentError(
                f"cannot make {where}: {error.strerror}", "choose other directories with --state and --runtime"
            ) from error
        owner = state_directory.owner(self._layout.owner)
        recorder = Recorder(self._layout.processes, owner)
        ended = await recorder.recover(RECOVERY_DEADLINE)
        state_directory.clear_leftovers(self._layout)
        if self._names[1] == "nix":
            from reconciler.builders.nix import usable

            await usable(find_nix(recorder), self._config).require()
        await self._compose(owner, recorder)
        for what in ended:
            await self.world.events.append("process_ended", None, {"what": what})

    def _refuse_another_backends(self) -> None:
        state_directory.refuse_another_backends(self._layout, self._names[0], BACKENDS)

    async def _compose(self, owner: str, recorder: Recorder) -> None:
        layout, config, since = self._layout, self._config, time.time()
        environment = recorder.environment()
        self._database = await Database.open(layout.database)
        meta = MetaRepo(
            layout,
            config=config,
            git_environment=environment,
            deadline=config.git_deadline,
            lock_flake=_lock_flake(recorder, needed=self._names[1] == "nix"),
        )
        await meta.create(int(since))
        metrics = Metrics()
        settings = DeployedSettings(self._pinned, lambda agent, sha: applied(agent).read(sha, SETTINGS_FILE))
        broker = Broker(
            self._database,
            known=self._is_recipient,
            quota=Quota(config.inbox_limit, config.inbox_bytes),
            counters=metrics.messages,
            agents=lambda: self.world.observer.known().agents,
            allowed=Recipients(settings).allowed,
        )
        wake_manager = partial(broker.wake_receivers, MANAGER)
        cards = Cards(self._database, on_append=wake_manager)
        events = Events(self._database, on_append=wake_manager)
        memory = Memory(Memos(self._database, on_append=wake_manager), cards)
        await memory.load(secrets.token_hex(8))
        links = Links(self._hint, broker.interrupt, acks=broker.expect_acks)

        def applied(agent: AgentName) -> Applied:
            return Applied(layout, agent, git_environment=environment, deadline=config.git_deadline)

        self.backend = self._make_backend(owner, links)
        builder = self._make_builder(meta, applied, recorder)
        observer = Observer(
            Sources(layout, meta, applied, self.backend, builder, links, self._sockets, memory),
            since=since,
            previews=Previews(layout),
            given_away=self._own_ranges and os.geteuid() != 0,
        )
        self.world = World(
            layout=layout,
            config=config,
            revision=revision(),
            meta=meta,
            observer=observer,
            links=links,
            sockets=self._sockets,
            memory=memory,
            cards=cards,
            events=events,
            broker=broker,
            as_root=os.geteuid() == 0,
            own_ranges=self._own_ranges,
            recorder=recorder,
            builds=asyncio.Semaphore(config.builds),
            build_logs=self._build_logs,
            metrics=metrics,
            background=self._background,
        )
        apply = Apply(self.world, self.backend, builder)
        self.reconciler = Reconciler(self.world, apply)
        await self.backend.open(self._hint)
        await observer.desired()
        self.service = Service(self.world, self.reconciler, apply, broker)
        self.service.discovery = Discovery(self.world, self.service, SeenTips(self._database), settings)
        await self.service.discovery.open()
        self.updates = Updates(self.world, self.reconciler, self.service.rebuild)
        self.service.updates, self.reconciler.more = self.updates, self.updates.holds
        self._database.on_change(self.service.discovery.glance)
        self._ticker = attach(self.service, self.world, self._database, self._is_recipient)
        await self._tell_of_loss(events)

    async def _tell_of_loss(self, events: Events) -> None:
        """What a person has to know of before anything else, at every start until it is seen to."""
        if self._database is not None and self._database.created and any((self._layout.state / "applied").iterdir()):
            aside = self._database.set_aside
            log.warning("the database was %s; cards come back from the tags", "damaged" if aside else "gone")
            await events.append("database_rebuilt", None, {"set_aside": str(aside) if aside else None})
        if warning := damaged.describe(self._layout.database):
            log.error("%s; %s", warning, damaged.REMEDY)
        if said := push_group.missing(self._config, os.geteuid()):
            log.warning("%s; %s", said, push_group.remedy(self._config))

    def _make_backend(self, owner: str, links: Links) -> Backend:
        if self._names[0] == "fake":
            return FakeBackend(self._layout, self._config, on_start=links.simulate, on_stop=links.forget)
        if self._names[0] == "nixos":
            from reconciler.backends.nixos.backend import NixosBackend  # brings dbus-fast
            from reconciler.backends.nixos.bus import Bus

            helper, bus = Client(Path(self._config.helper_socket)), Bus(background=self._background)
            return NixosBackend(self._layout, self._config, helper, bus=bus, starts=self._config.starts)
        return LocalBackend(self._layout, self._config, owner=owner)

    def _make_builder(
        self, meta: MetaRepo, applied: Callable[[AgentName], Applied], recorder: Recorder | None
    ) -> Builder:
        layout, config = self._layout, self._config
        if self._names[1] == "plain":
            return PlainBuilder(layout, config, applied, revision(), recorder)
        from reconciler.builders.nix import NixBuilder, usable

        nix = usable(find_nix(recorder), config)
        return NixBuilder(
            *(layout, config, nix, meta.repo, applied, revision()),
            on_log=self._build_logs.note,
        )

    async def peek(self, only: AgentName | None = None) -> list[PlanRow]:
        """The plan without the lock and without changing anything; for when no daemon runs.

        What only a daemon knows is taken for granted (sockets, crash counters) or shows as missing (links).
        """
        layout, config = self._layout, self._config
        if not layout.meta_git.is_dir():
            raise NotFound(f"there is no hive in {layout.state}", "start one with `hive serve`")
        meta = MetaRepo(layout, config=config)
        backend = self._make_backend(state_directory.owner(layout.owner), Links(self._hint))
        builder = self._make_builder(meta, partial(Applied, layout), None)
        known, links, since = (await meta.read()).desired.agents, Links(self._hint), time.time()
        if only is not None and only not in known:
            raise NotFound(f"there is no agent {only}", "without --plan AGENT all of them are shown")
        unseen = _Unseen(frozenset(known))
        sources = Sources(layout, meta, partial(Applied, layout), backend, builder, links, unseen)
        observer = Observer(sources, since=since)
        await backend.open(self._hint)
        try:
            desired, observed, deploys = await observer.everything()
        finally:
            await backend.close()
        decisions = plan(desired, observed, deploys, time.time(), config).decisions
        return [plan_row(name, decision) for name, decision in decisions.items() if only in (None, name)]

    async def start(self) -> None:
        """Make sure of the manager, look at everything, and go on looking."""
        await self.world.events.append("daemon_started", None, {"revision": self.world.revision})
        self._started = True
        await self._ensure_manager()
        start = self._background.start
        self._tasks.append(start("pauses", self.world.metrics.pauses.run()))
        self._tasks.append(start("resync", self.reconciler.run()))
        self._tasks.append(start("updates", self.updates.run()))
        self._tasks.append(start("ticker", self._ticker.run()))
        self._tasks.append(start("upkeep", hourly(self.service.broker, self.service.questions)))
        if self.service.discovery is not None:
            self._tasks.append(start("discovery", self.service.discovery.run()))

    @property
    def failure(self) -> Ended | None:
        """The background task that ended, for which the daemon has to end; None while all is well."""
        return self._background.failure

    async def failed(self) -> None:
        """Wait until a background task ends, and record that as an event. The caller then closes the daemon."""
        await self._background.ended.wait()
        await self._record_end()

    async def _ensure_manager(self) -> None:
        try:
            if MANAGER not in (await self.world.observer.desired()).agents:
                await self.service.spawn(MANAGER, by="hive")
        except Conflict:
            log.info("the manager is being spawned already")
        except HiveError as error:
            log.error("the manager cannot be spawned: %s (%s)", error.summary, error.hint)
            self.reconciler.trouble[MANAGER] = error.summary

    async def close(self) -> None:
        """Stop looking; agents go on. Whatever goes wrong, the database's threads end and the lock is free."""
        try:
            await self._end()
        finally:
            if self._database is not None:
                await self._database.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def _end(self) -> None:
        await self._background.stop(*self._tasks)
        if not hasattr(self, "service"):
            return
        await self.reconciler.close()
        await self.world.links.close()
        await self.backend.close()
        await self.service.broker.close()
        await self._record_end()
        await self.world.events.close()

    async def _record_end(self) -> None:
        """Append that the daemon failed, or else that it stopped. Once."""
        if self._recorded:
            return
        self._recorded = True
        failure = self.failure
        kind, data = ("daemon_failed", asdict(failure)) if failure is not None else ("daemon_stopped", {})
        try:
            async with asyncio.timeout(RECORD_DEADLINE):
                await self.world.events.append(kind, None, data)
        except (HiveError, TimeoutError) as error:  # a full disk, which may be why it ends
            log.warning("the end of the daemon is not in the events: %s", error or "the store does not answer")

    def _hint(self, agent: AgentName) -> None:
        if self._started:  # before, there is nothing that could answer on an agent's sockets; `start` looks at all
            self.reconciler.hint(agent)

    def _pinned(self, agent: AgentName) -> Sha | None:
        entry = self.world.observer.known().agents.get(agent)
        return None if entry is None else entry.pin.sha

    def _is_recipient(self, name: str) -> bool:
        return name in self.world.observer.known().agents


class _Unseen:
    """The sockets for a look without a daemon: only a daemon has them, so their absence is nothing to repair."""

    def __init__(self, agents: frozenset[AgentName]) -> None:
        self._agents = agents

    def present(self, agent: AgentName) -> bool:
        return agent in self._agents

    async def open(self, agent: AgentName, uid: int | None, peers: int | None = None) -> None:
        raise Refused("no daemon runs", "start one with `hive serve`")

    async def close(self, agent: AgentName) -> None:
        raise Refused("no daemon runs", "start one with `hive serve`")


def _lock_flake(recorder: Recorder, *, needed: bool) -> LockFlake | None:
    """What locks the meta flake; None where there is no nix.

    Builder `plain` does not read the lock (it is not `needed`), so a nix that cannot lock here (no store of its own,
    say) holds up nothing.
    """
    nix = find_nix(recorder)
    if nix is None:
        return None

    async def lock(directory: Path) -> None:
        try:
            await nix.lock(directory, LOCK_DEADLINE)
        except HiveError as error:
            if needed:
                raise
            log.warning("the meta flake stays unlocked: %s", error.summary)

    return lock


def _known(what: str, name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise PermanentError(f"there is no {what} {name!r}", f"choose one of: {', '.join(names)}")
    return name


def _pair(backend: str, builder: str) -> tuple[str, str]:
    if builder not in RUNS[backend]:
        fits = "--backend nixos --builder nix, or --backend local --builder plain"
        raise PermanentError(f"backend {backend!r} does not run what builder {builder!r} builds", f"use {fits}")
    return backend, builder
