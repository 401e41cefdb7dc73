"""The composition root: recover from an earlier daemon, make all parts, run the endless tasks.

Order at start: lock the state directory, end what an earlier daemon left running, remove stale locks of hive's own
repos, migrate agents of an older hive, open the store, meta and the backend, then look at all agents. A start or a stop
of the daemon never touches agents.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial

from meta.config import Config
from meta.errors import Conflict, DiskFull, HiveError, PermanentError
from meta.layout import Layout
from meta.names import HIVE, MANAGER
from meta.process.disk import FULL, disk_error
from meta.process.recorder import Recorder
from meta.proposed import push_group, push_move
from reconciler.common import leftovers
from reconciler.common.tasks import Background, Ended
from reconciler.daemon import full_disk, migration, state_directory
from reconciler.daemon.choices import BACKENDS, Choice, require_usable
from reconciler.daemon.foundation import Surroundings
from reconciler.daemon.lock import take_lock
from reconciler.daemon.parts import Parts, build
from reconciler.loop.loop import Reconciler
from reconciler.messaging.cleaning import hourly
from reconciler.network.operator import OperatorSettings
from reconciler.ports import Sockets
from reconciler.service import Service
from reconciler.store import damaged, offline
from reconciler.upkeep.backups.packing import agents_in
from reconciler.upkeep.migration.migrate import waiting
from reconciler.world import World

log = logging.getLogger(__name__)
RECOVERY_DEADLINE = 15.0
LEFTOVERS_MOST = 20
"""Paths in the event of what an earlier daemon left, and agents in that of a migration."""
RECORD_DEADLINE = 5.0
"""Seconds to record the event of a failure. A store that hangs must not keep a broken daemon from ending."""


class Daemon:
    """One running hive: made by `open`, then `start`, then `close`."""

    def __init__(
        self, parts: Parts, closing: AsyncExitStack, give: Callable[[], Coroutine[None, None, None]] | None
    ) -> None:
        self._parts = parts
        self._give = give
        self._closing = closing
        self._tasks: list[asyncio.Task[None]] = []
        self._recorded = False

    @classmethod
    async def open(cls, layout: Layout, config: Config, sockets: Sockets, choice: Choice) -> Daemon:
        """Take the lock, recover, open everything. Raise Conflict if another daemon has the state directory.

        Raise NewerState if a newer hive wrote it: before anything in it is changed.
        On a full disk that goes on what the reserve gives back, without the agents that exceed their limit.
        """
        state_directory.refuse_another_backends(layout, choice.backend, BACKENDS)
        await asyncio.to_thread(offline.refuse_newer, layout.database)
        try:
            return await cls._open(layout, config, sockets, choice)
        except OSError as error:
            if error.errno not in FULL:
                raise
            full = disk_error("cannot start", error)
        except DiskFull as error:
            full = error
        log.error("%s: hive starts on its reserve", full.summary)
        await full_disk.relieve(layout, config, choice)
        return await cls._open(layout, config, sockets, choice)

    @classmethod
    async def _open(cls, layout: Layout, config: Config, sockets: Sockets, choice: Choice) -> Daemon:
        async with AsyncExitStack() as closing:
            _take_directory(layout, closing)
            owner = state_directory.owner(layout.owner)
            recorder = Recorder(layout.processes, owner)
            ended = await recorder.recover(RECOVERY_DEADLINE)
            left = leftovers.clear(layout)
            state_directory.clear_locks(layout)
            await asyncio.to_thread(push_move.move_all, layout, config)
            await require_usable(choice, config, recorder)
            migrated = await migration.migrate_older(layout, config, choice, recorder)
            network = OperatorSettings.of(layout, config)
            here = Surroundings(layout, config, choice, sockets, recorder, Background(), owner, network)
            parts = await build(here, closing)
            await _report_loss(parts)
            await _remove_ended(parts.world)
            for what in ended:
                await parts.service.events.append("process_ended", None, {"what": what})
            if left:
                paths = [str(path.relative_to(layout.state)) for path in left[:LEFTOVERS_MOST]]
                await parts.service.events.append("leftovers_removed", None, {"count": len(left), "paths": paths})
            if migrated:
                names = {"agents": list(migrated[:LEFTOVERS_MOST])}
                await parts.service.events.append("agents_migrated", None, {"count": len(migrated), **names})
            waits = waiting(layout)
            give = partial(migration.give_to_manager, layout, config, choice, recorder, parts.world)
            return cls(parts, closing.pop_all(), give if waits else None)

    @property
    def service(self) -> Service:
        """The parts that `api` calls."""
        return self._parts.service

    @property
    def world(self) -> World:
        """The values and parts that the rooms share."""
        return self._parts.world

    @property
    def reconciler(self) -> Reconciler:
        """The loop."""
        return self._parts.service.loop

    async def start(self) -> None:
        """Request the manager, look at all agents, and go on looking."""
        service, parts = self.service, self._parts
        try:
            await service.events.append("daemon_started", None, {"revision": service.revision})
        except DiskFull as error:
            log.error("the start of the daemon is not in the events: %s", error.summary)
        parts.hints.listen(service.loop.hint)
        await service.disk.first()
        await service.declared.look()  # before the manager is spawned: it may be declared
        await self._ensure_manager()
        works = {
            "disk": service.disk.run(),
            "pauses": parts.world.metrics.pauses.run(),
            "inputs": parts.inputs.run(),
            "resync": service.loop.run(),
            "updates": service.updates.run(),
            "ticker": parts.ticker.run(),
            "budgets": service.budgets.run(),
            "network": service.way_out.run(),
            "upkeep": hourly(service.broker, service.questions),
            "discovery": service.discovery.run(),
            "locks": service.locks.run(),
            "log": parts.database.keep_log_short(),
            "removed": leftovers.empty_hourly(self.world.layout),
        }
        if self._give is not None:
            works["migration"] = self._give()
        if service.declared.configured:
            works["declared"] = service.declared.run()
        if service.access.on:
            works["access"] = service.access.run()
        if service.notifier.configured:
            works["notify"] = service.notifier.run()
        self._tasks += [service.background.start(name, work) for name, work in works.items()]

    @property
    def failure(self) -> Ended | None:
        """The background task whose end makes the daemon end; None if there is none."""
        return self.service.background.failure

    async def failed(self) -> None:
        """Wait until a background task ends, and record that as an event. The caller then closes the daemon."""
        await self.service.background.ended.wait()
        await self._record_end()

    async def close(self) -> None:
        """Stop looking at agents; agents keep running.

        The threads of the database end and the lock is free, even if an error occurs.
        """
        service = self.service
        async with self._closing:
            await service.background.stop(*self._tasks)
            await service.loop.close()
            await service.links.close()
            if self.world.observer.goes_down:
                await self._end_way_out()
            await service.broker.close()
            await self._record_end()
            await service.events.close()

    async def _end_way_out(self) -> None:
        """End hive-egress, which no agent needs any more."""
        try:
            await self.service.way_out.end()
        except HiveError as error:
            log.warning("%s; `hive down` tries again", error.summary)

    async def _ensure_manager(self) -> None:
        try:
            if MANAGER not in (await self.world.observer.desired()).agents:
                await self.service.spawns.begin(MANAGER, by=HIVE)
        except Conflict:
            log.info("the manager is being spawned already")
        except HiveError as error:
            log.error("the manager cannot be spawned: %s (%s)", error.summary, error.hint)
            self.reconciler.trouble[MANAGER] = error.summary

    async def _record_end(self) -> None:
        """Append the event that the daemon failed or stopped. Do that once."""
        if self._recorded:
            return
        self._recorded = True
        failure = self.failure
        ending = {"down": True} if self.world.observer.goes_down else {}
        kind, data = ("daemon_failed", asdict(failure)) if failure is not None else ("daemon_stopped", ending)
        try:
            async with asyncio.timeout(RECORD_DEADLINE):
                await self.service.events.append(kind, None, data)
        except (HiveError, TimeoutError) as error:  # a full disk, which may be why it ends
            log.warning("the end of the daemon is not in the events: %s", error or "the store does not answer")


def _take_directory(layout: Layout, closing: AsyncExitStack) -> None:
    """Make the state directory if it is missing, and lock it until `closing` is closed."""
    try:
        layout.state.mkdir(mode=state_directory.STATE_MODE, parents=True, exist_ok=True)
        closing.callback(os.close, take_lock(layout.lock))
        state_directory.prepare(layout)
    except OSError as error:
        if error.errno in FULL:
            raise
        where = error.filename or layout.state
        raise PermanentError(
            f"cannot make {where}: {error.strerror}", "choose other directories with --state and --runtime"
        ) from error


async def _remove_ended(world: World) -> None:
    """Remove the objects of proposals that an earlier daemon denied, or did not pin any more."""
    for agent in agents_in(world.layout.applied_repos):
        removed = await world.applied(agent).remove_ended(untagged=True)
        if removed:
            log.info("%s: removed the objects of %s", agent, ", ".join(map(str, removed)))


async def _report_loss(parts: Parts) -> None:
    """Report a lost or damaged database, and a missing push group, at every start until the operator repairs it."""
    database, layout, config = parts.database, parts.world.layout, parts.world.config
    if database.created and any((layout.state / "applied").iterdir()):
        aside = database.set_aside
        log.warning("the database was %s; cards come back from the tags", "damaged" if aside else "gone")
        await parts.service.events.append("database_rebuilt", None, {"set_aside": str(aside) if aside else None})
    if warning := damaged.describe(layout.database):
        log.error("%s; %s", warning, damaged.REMEDY)
    if missing := push_group.missing(config, os.geteuid()):
        log.warning("%s; %s", missing, push_group.remedy(config))
