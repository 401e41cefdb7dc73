"""Containers of NixOS: root's verbs through the helper, units through D-Bus, hive's records beside them.

    create        writes hive's own records; root makes the container with its first system, which nixos-container needs
    set_system    by path, through the helper; system.json says which generation the path is
    start         launch.env (generation, nonce) into the agent's bound directory, run.json, then the unit
    exits         from the unit's properties when they change, into exit.json; `lost` if nothing recorded it

The daemon needs no root: it reads /etc/nixos-containers and the profiles, and owns its records and the sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from meta import own_file
from meta.config import Config
from meta.errors import BadInput, HiveError, PermanentError, Refused, TransientError
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Role
from meta.names import AgentName, GenerationId, agent_name
from meta.own_file import sync_folder
from reconciler.backends.base import Abilities, Hint
from reconciler.backends.nixos.abilities import abilities
from reconciler.backends.nixos.bus import Bus
from reconciler.backends.nixos.helper import RootHelper, plain_settings, retry_if_missing
from reconciler.backends.nixos.records import NixosRecords, SetSystem, Where
from reconciler.backends.nixos.runs import Runs
from reconciler.backends.nixos.tracker import Tracker
from reconciler.backends.nixos.units import UnitView
from reconciler.backends.records import WrittenSettings
from reconciler.backends.refusals import disk, existing
from reconciler.common.files import write_json
from reconciler.plan.observed import Container, Held, Launch
from reconciler.privileged.values import HARNESS_UID
from reconciler.views import LogPart

log = logging.getLogger(__name__)

LAUNCH_ENVIRONMENT = "launch.env"
"""The file in the agent's bound directory that the harness's unit has as EnvironmentFile."""

STARTS = 4
"""Containers that boot at the same time, at most. After a reboot of the host the others wait."""


class NixosBackend:
    """The backend `nixos`. `helper` has root's verbs, `bus` the system bus, `where` the host's directories."""

    name = "nixos"
    harness_uid = HARNESS_UID

    def __init__(
        self,
        layout: Layout,
        config: Config,
        helper: RootHelper,
        bus: Bus,
        *,
        where: Where | None = None,
        starts: int = STARTS,
    ) -> None:
        self._layout = layout
        self._config = config
        self._helper = helper
        self._where = where or Where()
        self._folder = layout.backend(self.name)
        self._all_records: dict[AgentName, NixosRecords] = {}
        self._tracker = Tracker(bus, self._on_change)
        self._runs = Runs()
        self._slots = asyncio.Semaphore(starts)
        self._hint: Hint | None = None

    # observing
    async def open(self, hint: Hint) -> None:
        """Connect to systemd and adopt the containers that run.

        Raise TransientError if the system bus cannot be reached.
        """
        await self._tracker.open(self.names)
        for agent in self.names():
            self._settle(agent)
        self._hint = hint

    async def close(self) -> None:
        """Disconnect. The containers keep running."""
        self._hint = None
        await self._tracker.close()

    def abilities(self) -> Abilities:
        """Return what is enforced here, in words."""
        return abilities(ready=self._tracker.ready, soft_scopes=self._config.soft_scopes)

    def names(self) -> frozenset[AgentName]:
        """Return every container with this hive's marker, even if root has not made it yet."""
        names = [name.removesuffix(".conf") for name in _entries(self._where.etc) if name.endswith(".conf")]
        return frozenset(
            agent
            for agent in (*_agents(names), *_agents(_entries(self._folder)))
            if (records := self._records(agent)).exists and records.ours
        )

    def observe(self, agent: AgentName) -> Container:
        """Return the container.

        This costs a few stats. A file is read only if it changed, and systemd is never called.
        """
        records = self._records(agent)
        if not records.exists:
            return Container()
        ours, run = records.ours, records.run.get()
        if (damage := records.damage) is not None:
            return Container(exists=True, damage=damage)
        if not ours:
            return Container(exists=True, ours=False)
        written, system = records.written, records.switched_to
        if records.on_host:
            fingerprint = written.fingerprint if written is not None else None
        else:
            settings = records.settings.get()
            fingerprint = settings.fingerprint if settings is not None and settings.intact else None
        view = self._tracker.view(agent)
        return Container(
            exists=True,
            system=GenerationId(system.id) if system is not None else None,
            fingerprint=fingerprint,
            pid=view.pid if view is not None and records.on_host else None,
            launch=run.launch if run is not None else None,
            exit=self._runs.exit(records),
        )

    # how runs end
    def _on_change(self, agent: AgentName) -> None:
        """Record how a run ended and send a hint. Called when the unit changed."""
        if agent not in self._all_records and not self._records(agent).exists:
            return
        self._settle(agent)
        if self._hint is not None:
            self._hint(agent)

    def _settle(self, agent: AgentName) -> None:
        self._runs.settle(self._records(agent), self._tracker.view(agent))

    # making and changing
    async def create(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make hive's records, or the missing ones. Root makes the container with its first system."""
        records = self._records(agent)
        if not records.exists:
            await asyncio.to_thread(self._make, records, settings)
            self._runs.forget(agent)
        elif self._existing(agent).fingerprint is None:
            await self.write_settings(agent, settings)
        await self.own_directories(agent, settings)

    def _make(self, records: NixosRecords, settings: ContainerSettings) -> None:
        """Make the records in one rename. Replace those of a container that was deleted by hand."""
        fresh = self._folder / f".new-{records.agent}"
        with disk(f"cannot make the container {records.agent}"):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o755, parents=True)
            write_json(fresh / "hive.json", {"owner": self._where.owner})
            write_json(fresh / "settings.json", WrittenSettings.of(settings))
            shutil.rmtree(records.folder, ignore_errors=True)
            fresh.rename(records.folder)
            sync_folder(self._folder)

    async def set_system(self, agent: AgentName, generation: Generation) -> None:
        """Switch by path. The first system makes the container on the host."""
        self._existing(agent)
        records = self._records(agent)
        with disk(f"cannot switch {agent} to {generation.id}"):
            records.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            record = SetSystem(generation.id, str(generation.system))
            write_json(records.folder / "system.json", asdict(record))
        with retry_if_missing(agent):
            if records.written is None:
                await self._make_on_host(records, str(generation.system))
            else:
                await self._helper.set_system(agent, str(generation.system))
        if self.observe(agent).system != generation.id:
            raise TransientError(f"{generation.system} is not what {agent} boots", "hive sets it again")

    async def _make_on_host(self, records: NixosRecords, system: str) -> None:
        agent, written = records.agent, records.settings.get()
        if written is None or not written.intact:
            raise TransientError(f"the settings of {agent} are missing", "the next pass writes them")
        settings = written.settings
        await self._helper.create(agent, settings.uid_base, system)
        if (await self._tracker.refresh(agent)).up:  # its conf file was deleted while it ran
            log.warning("%s still ran although its settings were deleted; hive ends it", agent)
            await self._helper.stop(agent, self._config.stop_grace)
        await self._helper.write_settings(agent, plain_settings(settings))

    async def write_settings(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Replace hive's settings, and those of the host if the container exists there."""
        self._existing(agent)
        records = self._records(agent)
        with disk(f"cannot write the settings of {agent}"):
            records.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_json(records.folder / "hive.json", {"owner": self._where.owner}, sync=False)
            write_json(records.folder / "settings.json", WrittenSettings.of(settings))
        if records.written is not None:
            with retry_if_missing(agent):
                await self._helper.write_settings(agent, plain_settings(settings))

    async def own_directories(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Have root make /state, home and the directories of the sockets, the pods and the way out. The daemon makes
        the manager's shared ones.
        """
        for kind in ("state", "home", "pods", "sockets", "egress"):
            await self._helper.own_directory(agent, kind, settings.uid_base)
        if settings.role is Role.MANAGER:
            with disk("cannot make the manager's directories"):
                for path in (self._layout.state / "proposed", self._layout.state / "applied", self._layout.meta):
                    path.mkdir(mode=0o755, parents=True, exist_ok=True)

    # running
    async def start(self, agent: AgentName, launch: Launch) -> None:
        """Start the system that is set.

        Return once the container is up, or has ended again (then with its exit).
        """
        self._existing(agent)
        async with self._slots:
            records = self._records(agent)
            view = await self._tracker.refresh(agent)
            if view.up and records.on_host:
                return
            container, written = self.observe(agent), records.settings.get()
            if container.system != launch.generation or container.fingerprint is None or written is None:
                raise TransientError(f"{agent} is not set to {launch.generation}", "the next pass sets it again")
            await self.own_directories(agent, written.settings)  # a reboot removes that of the sockets
            await self._launch(records, launch, view)

    async def _launch(self, records: NixosRecords, launch: Launch, view: UnitView) -> None:
        agent, former_run = records.agent, records.run.get()
        self._settle(agent)
        text = f"HIVE_GENERATION={launch.generation}\nHIVE_BOOT_NONCE={launch.nonce}\n"
        text += "HIVE_SOFT_SCOPES=true\n" if self._config.soft_scopes else ""
        try:
            with self._runs.starting(records), retry_if_missing(agent):
                with disk(f"cannot start {agent}"):
                    own_file.write(self._layout.sockets(agent) / LAUNCH_ENVIRONMENT, text.encode(), mode=0o640)
                    self._runs.record(records, launch, view.invocation)
                await self._start_unit(agent)
        except HiveError as error:
            if not await self._has_begun(agent):
                self._runs.take_back(records, former_run)
                raise
            log.warning("%s ended during its start: %s", agent, error.summary)
            return
        await self._tracker.refresh(agent)
        self._settle(agent)

    async def _start_unit(self, agent: AgentName) -> None:
        """Start the unit. Retry once if a killed run has left its machine in machined."""
        stale = await self._tracker.machine_is_registered(agent)
        try:
            await self._helper.start(agent)
        except Refused:
            raise
        except PermanentError as error:
            if not stale:
                raise
            log.warning("%s: an earlier run left its machine (%s); hive starts it once more", agent, error.summary)
            self._runs.retry(agent)
            await self._helper.start(agent)

    async def _has_begun(self, agent: AgentName) -> bool:
        """Return True if a start that failed had begun a run, or if that is unknown because the bus is down."""
        try:
            view = await self._tracker.refresh(agent)
        except TransientError:
            return True
        begun = view.up or self._runs.failed_in_start(agent)
        if begun:
            self._settle(agent)
        return begun

    async def stop(self, agent: AgentName, grace: float) -> None:
        """Send TERM, then KILL after `grace` seconds. Return when no process is left and the exit is recorded."""
        container, records = self._existing(agent, allow_missing=True), self._records(agent)
        if not container.exists or (records.written is None and not records.is_of_older):
            return
        await self._helper.stop(agent, grace)
        await self._tracker.refresh(agent)
        self._settle(agent)

    async def destroy(self, agent: AgentName) -> None:
        """Stop and remove the container, with hive's records. The agent's own directories stay."""
        container = self._existing(agent, allow_missing=True)
        records = self._records(agent)
        if container.exists and records.on_host:
            await self._helper.destroy(agent)
        await asyncio.to_thread(shutil.rmtree, self._layout.egress(agent), ignore_errors=True)
        with disk(f"cannot remove the records of {agent}"):
            if records.folder.is_dir():
                removed = self._folder / f".gone-{agent}-{secrets.token_hex(4)}"
                records.folder.rename(removed)
                sync_folder(self._folder)
                await asyncio.to_thread(shutil.rmtree, removed)
        self._all_records.pop(agent, None)
        self._runs.forget(agent)

    async def own_proposed(self, agent: AgentName, manager: ContainerSettings) -> None:
        """Give everything that hive made in the work tree to the manager's range, through the helper."""
        await self._helper.own_directory(agent, "proposed", manager.uid_base)

    async def remove_directories(self, agent: AgentName) -> None:
        """Remove the directories through the helper: they belong to uids of the agent's and the manager's ranges."""
        await self._helper.remove_directories(agent)

    async def measure(self, agent: AgentName) -> Held | None:
        """Count through the helper: the directories belong to uids of the agent's range."""
        counted = await self._helper.measure(agent)
        return Held(counted.bytes, counted.inodes, counted.complete)

    async def logs(self, agent: AgentName, lines: int) -> str:
        """Return the last lines of the unit in the journal. A container that has never run has none."""
        container = self._existing(agent, allow_missing=True)
        if lines <= 0 or container.launch is None or self._records(agent).written is None:
            return ""
        with retry_if_missing(agent):
            return "\n".join((await self._helper.logs(agent, min(lines, 1000))).lines)

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """Return the lines after the journal's cursor. `since` is accurate to the second."""
        container = self._existing(agent, allow_missing=True)
        if container.launch is None or self._records(agent).written is None:
            return LogPart("", cursor)
        with retry_if_missing(agent):
            begin = None if since is None else int(since)
            part = await self._helper.logs(agent, min(lines, 1000), cursor, begin)
        return LogPart("".join(f"{line}\n" for line in part.lines), part.cursor)

    # helpers
    def _records(self, agent: AgentName) -> NixosRecords:
        records = self._all_records.get(agent)
        if records is None:
            records = self._all_records[agent] = NixosRecords(
                agent, self._folder / agent, self._where, self._layout.state
            )
        return records

    def _existing(self, agent: AgentName, *, allow_missing: bool = False) -> Container:
        what, remedy = f"the container {agent}", "remove it by hand (`nixos-container destroy`)"
        return existing(agent, self.observe(agent), what, remedy, allow_missing=allow_missing)


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PermanentError(f"cannot read {folder}: {error.strerror}", "the daemon must be able to read it") from error


def _agents(names: list[str]) -> Iterator[AgentName]:
    for name in names:
        with contextlib.suppress(BadInput):
            yield agent_name(name)
