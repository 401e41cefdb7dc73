"""Containers of NixOS: root's verbs through the helper, units through D-Bus, hive's records beside them.

    create        asks hive's own records only: nixos-container wants a system, so root makes it with the first one
    set_system    by path, through the helper; system.json says which generation the path is
    start         launch.env (generation, nonce) into the agent's bound directory, run.json, then the unit
    exits         from the unit's properties when they change, into exit.json; nobody saw it: `lost`

The daemon needs no root: it reads /etc/nixos-containers and the profiles, and owns its records and the sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from meta.config import Config
from meta.errors import BadInput, HiveError, PermanentError, Refused, TransientError
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Role
from meta.names import AgentName, GenerationId, agent_name
from reconciler.backends.base import Abilities, Hint
from reconciler.backends.nixos.bus import Bus
from reconciler.backends.nixos.enforced import abilities
from reconciler.backends.nixos.helper import RootHelper, plain, present
from reconciler.backends.nixos.records import NixosPlace, SetSystem, Where
from reconciler.backends.nixos.runs import Runs
from reconciler.backends.nixos.tracker import Tracker
from reconciler.backends.nixos.units import UnitView
from reconciler.backends.records import WrittenSettings
from reconciler.backends.refusals import disk, existing
from reconciler.common.files import sync_directory, write_file, write_json
from reconciler.plan.observed import Container, Launch
from reconciler.privileged.values import HARNESS_UID
from reconciler.views import LogPart

log = logging.getLogger(__name__)

LAUNCH_ENVIRONMENT = "launch.env"
"""In the agent's bound directory; the harness's unit has it as EnvironmentFile."""

STARTS = 4
"""Containers that boot at the same time: after a reboot of the host they come up in waves of so many."""


class NixosBackend:
    """The backend `nixos`. `helper` has root's verbs, `bus` the system bus, `where` the host's directories."""

    name = "nixos"
    harness_uid = HARNESS_UID

    def __init__(
        self,
        layout: Layout,
        config: Config,
        helper: RootHelper,
        *,
        bus: Bus | None = None,
        where: Where | None = None,
        starts: int = STARTS,
    ) -> None:
        self._layout = layout
        self._config = config
        self._helper = helper
        self._where = where or Where()
        self._folder = layout.backend(self.name)
        self._places: dict[AgentName, NixosPlace] = {}
        self._tracker = Tracker(bus or Bus(), self._on_change)
        self._runs = Runs()
        self._slots = asyncio.Semaphore(starts)
        self._hint: Hint | None = None

    # what is
    async def open(self, hint: Hint) -> None:
        """Connect to systemd and take over what runs. TransientError when the system bus is not there."""
        await self._tracker.open(self.names)
        for agent in self.names():
            self._settle(agent)
        self._hint = hint

    async def close(self) -> None:
        """Stop listening; the containers go on."""
        self._hint = None
        await self._tracker.close()

    def abilities(self) -> Abilities:
        """What is enforced here, in words."""
        return abilities(ready=self._tracker.ready)

    def names(self) -> frozenset[AgentName]:
        """Every container with this hive's marker, and those that root does not know of yet."""
        found = [name.removesuffix(".conf") for name in _entries(self._where.etc) if name.endswith(".conf")]
        return frozenset(
            agent
            for agent in (*_agents(found), *_agents(_entries(self._folder)))
            if (place := self._place(agent)).exists and place.ours
        )

    def observe(self, agent: AgentName) -> Container:
        """A handful of stats; a file is read only when it changed, systemd is never asked."""
        place = self._place(agent)
        if not place.exists:
            return Container()
        if not place.ours:
            return Container(exists=True, ours=False)
        written, run, system = place.written, place.run.get(), place.switched_to
        if place.on_host:
            fingerprint = written.fingerprint if written is not None else None
        else:
            settings = place.settings.get()
            fingerprint = settings.fingerprint if settings is not None and settings.intact else None
        view = self._tracker.view(agent)
        return Container(
            exists=True,
            system=GenerationId(system.id) if system is not None else None,
            fingerprint=fingerprint,
            pid=view.pid if view is not None and place.on_host else None,
            launch=run.launch if run is not None else None,
            exit=self._runs.exit(place),
        )

    # how runs end
    def _on_change(self, agent: AgentName) -> None:
        """The unit changed: note how a run ended, and tell the loop."""
        if agent not in self._places and not self._place(agent).exists:
            return
        self._settle(agent)
        if self._hint is not None:
            self._hint(agent)

    def _settle(self, agent: AgentName) -> None:
        self._runs.settle(self._place(agent), self._tracker.view(agent))

    # making and setting
    async def create(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make hive's records; there already: only what is missing. Root makes the container with its first system."""
        place = self._place(agent)
        if not place.exists:
            await asyncio.to_thread(self._make, place, settings)
            self._runs.forget(agent)
        elif self._existing(agent).fingerprint is None:
            await self.write_settings(agent, settings)
        await self.own_directories(agent, settings)

    def _make(self, place: NixosPlace, settings: ContainerSettings) -> None:
        """In one rename; the records of a container that was deleted by hand go."""
        fresh = self._folder / f".new-{place.agent}"
        with disk(f"cannot make the container {place.agent}"):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o755, parents=True)
            write_json(fresh / "hive.json", {"owner": self._where.owner})
            write_json(fresh / "settings.json", WrittenSettings.of(settings))
            shutil.rmtree(place.folder, ignore_errors=True)
            fresh.rename(place.folder)
            sync_directory(self._folder)

    async def set_system(self, agent: AgentName, generation: Generation) -> None:
        """Switch by path. The first system makes the container on the host."""
        self._existing(agent)
        place = self._place(agent)
        with disk(f"cannot switch {agent} to {generation.id}"):
            place.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            record = SetSystem(generation.id, str(generation.system))
            write_json(place.folder / "system.json", asdict(record))
        with present(agent):
            if place.written is None:
                await self._make_on_host(place, str(generation.system))
            else:
                await self._helper.set_system(agent, str(generation.system))
        if self.observe(agent).system != generation.id:
            raise TransientError(f"{generation.system} is not what {agent} boots", "it is set again")

    async def _make_on_host(self, place: NixosPlace, system: str) -> None:
        agent, asked = place.agent, place.settings.get()
        if asked is None or not asked.intact:
            raise TransientError(f"the settings of {agent} are not there", "the next pass writes them")
        settings = asked.settings
        await self._helper.create(agent, settings.uid_base, system)
        if (await self._tracker.refresh(agent)).up:  # of one whose conf file was deleted while it ran
            log.warning("%s still ran although its settings were gone; it is ended", agent)
            await self._helper.stop(agent, self._config.stop_grace)
        await self._helper.write_settings(agent, plain(settings))

    async def write_settings(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Replace what is asked for, and what the host has when there is a container already."""
        self._existing(agent)
        place = self._place(agent)
        with disk(f"cannot write the settings of {agent}"):
            place.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_json(place.folder / "hive.json", {"owner": self._where.owner}, sync=False)
            write_json(place.folder / "settings.json", WrittenSettings.of(settings))
        if place.written is not None:
            with present(agent):
                await self._helper.write_settings(agent, plain(settings))

    async def own_directories(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Have root make /state, home and the sockets' directory; the manager's shared ones are the daemon's."""
        for kind in ("state", "home", "sockets"):
            await self._helper.own_directory(agent, kind, settings.uid_base)
        if settings.role is Role.MANAGER:
            with disk("cannot make the manager's directories"):
                for path in (self._layout.state / "proposed", self._layout.state / "applied", self._layout.meta):
                    path.mkdir(mode=0o755, parents=True, exist_ok=True)

    # running
    async def start(self, agent: AgentName, launch: Launch) -> None:
        """Start what is set; returns once the container is up, or ended again (then with its exit)."""
        self._existing(agent)
        async with self._slots:
            place = self._place(agent)
            view = await self._tracker.refresh(agent)
            if view.up and place.on_host:
                return
            seen, asked = self.observe(agent), place.settings.get()
            if seen.system != launch.generation or seen.fingerprint is None or asked is None:
                raise TransientError(f"{agent} is not set to {launch.generation}", "the next pass sets it again")
            await self.own_directories(agent, asked.settings)  # the sockets' one is gone after a reboot
            await self._launch(place, launch, view)

    async def _launch(self, place: NixosPlace, launch: Launch, view: UnitView) -> None:
        agent, former = place.agent, place.run.get()
        self._settle(agent)
        text = f"HIVE_GENERATION={launch.generation}\nHIVE_BOOT_NONCE={launch.nonce}\n"
        try:
            with self._runs.starting(place), present(agent):
                with disk(f"cannot start {agent}"):
                    write_file(self._layout.sockets(agent) / LAUNCH_ENVIRONMENT, text.encode(), mode=0o640)
                    self._runs.record(place, launch, view.invocation)
                await self._start_unit(agent)
        except HiveError as error:
            if not await self._began(agent):
                self._runs.take_back(place, former)
                raise
            log.warning("%s ended in its start: %s", agent, error.summary)
            return
        await self._tracker.refresh(agent)
        self._settle(agent)

    async def _start_unit(self, agent: AgentName) -> None:
        """Start. machined may still have the machine of a run that nobody ended in good order: once more after that."""
        stale = await self._tracker.machine_is_registered(agent)
        try:
            await self._helper.start(agent)
        except Refused:
            raise
        except PermanentError as error:
            if not stale:
                raise
            log.warning("%s: a machine was left of an earlier run (%s); it is started once more", agent, error.summary)
            self._runs.again(agent)
            await self._helper.start(agent)

    async def _began(self, agent: AgentName) -> bool:
        """Whether a start that failed had come so far that the run counts. The bus away: it may have."""
        try:
            view = await self._tracker.refresh(agent)
        except TransientError:
            return True
        began = view.up or self._runs.failed_in_start(agent)
        if began:
            self._settle(agent)
        return began

    async def stop(self, agent: AgentName, grace: float) -> None:
        """TERM, then KILL after `grace` seconds; returns when nothing is left and its exit is kept."""
        seen = self._existing(agent, allow_missing=True)
        if not seen.exists or self._place(agent).written is None:
            return
        await self._helper.stop(agent, grace)
        await self._tracker.refresh(agent)
        self._settle(agent)

    async def destroy(self, agent: AgentName) -> None:
        """Stop and remove it with hive's records; the agent's own directories stay."""
        seen = self._existing(agent, allow_missing=True)
        place = self._place(agent)
        if seen.exists and place.on_host:
            await self._helper.destroy(agent)
        with disk(f"cannot remove the records of {agent}"):
            if place.folder.is_dir():
                await asyncio.to_thread(shutil.rmtree, place.folder)
                sync_directory(self._folder)
        self._places.pop(agent, None)
        self._runs.forget(agent)

    async def own_proposed(self, agent: AgentName, manager: ContainerSettings) -> None:
        """Through the helper: everything that hive made in it goes to the manager's range."""
        await self._helper.own_directory(agent, "proposed", manager.uid_base)

    async def remove_directories(self, agent: AgentName) -> None:
        """Through the helper: they belong to uids of the agent's and the manager's ranges."""
        await self._helper.remove_directories(agent)

    async def logs(self, agent: AgentName, lines: int) -> str:
        """The last lines that its unit has in the journal; one that never ran has none, whatever is of older ones."""
        seen = self._existing(agent, allow_missing=True)
        if lines <= 0 or seen.launch is None or self._place(agent).written is None:
            return ""
        with present(agent):
            return "\n".join((await self._helper.logs(agent, min(lines, 1000))).lines)

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """The same from the journal's cursor on; `since` in whole seconds."""
        seen = self._existing(agent, allow_missing=True)
        if seen.launch is None or self._place(agent).written is None:
            return LogPart("", cursor)
        with present(agent):
            begin = None if since is None else int(since)
            found = await self._helper.logs(agent, min(lines, 1000), cursor, begin)
        return LogPart("".join(f"{line}\n" for line in found.lines), found.cursor)

    # helpers
    def _place(self, agent: AgentName) -> NixosPlace:
        place = self._places.get(agent)
        if place is None:
            place = self._places[agent] = NixosPlace(agent, self._folder / agent, self._where)
        return place

    def _existing(self, agent: AgentName, *, allow_missing: bool = False) -> Container:
        what, remedy = f"the container {agent}", "remove it by hand (`nixos-container destroy`)"
        return existing(agent, self.observe(agent), what, remedy, allow_missing=allow_missing)


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PermanentError(f"cannot read {folder}: {error.strerror}", "the daemon needs to look there") from error


def _agents(names: list[str]) -> Iterator[AgentName]:
    for name in names:
        with contextlib.suppress(BadInput):
            yield agent_name(name)
