"""Containers as supervised processes in bubblewrap: any Linux, nothing to install beyond bwrap.

    backend/local/<agent>/
        hive.json              the marker with the owner's id; a directory without it is never touched
        settings.json          limits, uid range, role, with their fingerprint
        system -> generation   what it is switched to; takes effect at the next start
        spec.json lock         what the supervisor runs; held by it while it runs
        run.json exit.json     the last start and the last end, written by the supervisor
        log log.1 etc/         output; the passwd file of the sandbox
        log.times log.times.1  when what of the output was written

One supervisor per run outlives the daemon. The next daemon adopts it by pid, start time and boot id, and watches it
through a pidfd. A supervisor whose directory was deleted by hand is found again by its command line, and ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from meta.config import Config
from meta.errors import TransientError
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Role
from meta.names import AgentName, GenerationId
from meta.process.identity import ProcessIdentity
from reconciler.backends.base import Abilities, Hint
from reconciler.backends.local import cgroups, directories, log_file
from reconciler.backends.local import launch as launching
from reconciler.backends.local.enclosure import Host, Subject, enclose, probe
from reconciler.backends.local.place import Place
from reconciler.backends.local.watches import Watches
from reconciler.backends.records import Run, WrittenSettings
from reconciler.backends.refusals import disk, existing
from reconciler.common.files import sync_directory, write_json
from reconciler.plan.observed import Container, Exit, Launch
from reconciler.views import LogPart

log = logging.getLogger(__name__)

Command = Callable[[AgentName, Launch], Sequence[str]]
"""What runs in the container."""

KILL_SECONDS = 12.0
"""How long a killed container may take to be gone; a little more than the supervisor's own bound."""


@contextlib.contextmanager
def _apart(agent: AgentName) -> Iterator[None]:
    """What is wrong with one agent's records or process keeps the others, and the daemon, from nothing."""
    try:
        yield
    except (OSError, ValueError) as error:
        log.error("%s: the run that is recorded cannot be watched: %s", agent, error)


def harness_command(agent: AgentName, launch: Launch) -> Sequence[str]:
    """The harness of this installation. -P: the working directory is the agent's own and no place for modules."""
    return (sys.executable, "-P", "-m", "harness.cli", "serve")


class LocalBackend:
    """The backend `local`. `owner` marks its containers; `command` is what runs inside; `limits` as detected."""

    name = "local"
    harness_uid = 0

    def __init__(
        self,
        layout: Layout,
        config: Config,
        *,
        owner: str,
        command: Command = harness_command,
        host: Host | None = None,
        limits: cgroups.Cgroups | None = None,
        log_limit: int = 8 * 2**20,
    ) -> None:
        self._layout = layout
        self._config = config
        self._owner = owner
        self._command = command
        self._host = host
        self._cgroups = limits if limits is not None else cgroups.detect(owner)
        self._log_limit = log_limit
        self._folder = layout.backend(self.name)
        self._places: dict[AgentName, Place] = {}
        self._watches = Watches(self._on_end)
        self._starting: dict[AgentName, str] = {}
        self._lost: dict[AgentName, Exit] = {}
        self._hint: Hint | None = None

    # what is
    async def open(self, hint: Hint) -> None:
        """Adopt the supervisors that run, find strays, try what this host allows."""
        self._hint = hint
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._host = self._host or await probe()
        for agent in self.names():
            with _apart(agent):
                self._adopt(agent)
        for agent, stray in launching.running_supervisors(self._folder):
            with _apart(agent):
                self._take_in(agent, stray)

    def _take_in(self, agent: AgentName, stray: ProcessIdentity) -> None:
        if self._watches.get(agent) is None and self._watches.add(agent, stray):
            log.warning("%s: a supervisor runs without its records (pid %d)", agent, stray.pid)
            if not self._place(agent).exists:  # else the next start ends it
                self._watches.signal(agent, signal.SIGTERM)

    async def close(self) -> None:
        """Stop watching; the containers go on."""
        self._hint = None
        self._watches.close()

    def abilities(self) -> Abilities:
        """What is enforced here, in words."""
        host = self._known_host()
        notes = []
        if host.sandbox is None:
            isolation = f"none: {host.why}"
            allowed = "every agent" if self._config.isolation == "unsafe-none" else "only the runtime `script`"
            notes.append(f"without bubblewrap {allowed} starts, and sees the host's files")
        else:
            isolation = "bubblewrap: own mount, pid, network, ipc and uts namespace"
        if host.as_root and self._config.fixed_uids:
            uids = "each agent has its own uid"
        else:
            uids = f"every agent runs as uid {os.geteuid()}, the daemon's own"
            notes.append("agents are apart by namespaces only, not by uid: hive does not run as root")
        if "not enforced" in self._cgroups.words:
            notes.append(f"limits {self._cgroups.words}")
        return Abilities(isolation, self._cgroups.words, uids, tuple(notes))

    def names(self) -> frozenset[AgentName]:
        """Every container with this hive's marker."""
        try:
            found = [AgentName(entry.name) for entry in os.scandir(self._folder) if not entry.name.startswith(".")]
        except FileNotFoundError:
            return frozenset()
        return frozenset(agent for agent in found if self._place(agent).ours)

    def observe(self, agent: AgentName) -> Container:
        """A handful of stats; a file is read only when it changed."""
        place = self._place(agent)
        if not place.ours:
            return Container(exists=True, ours=False) if place.exists else Container()
        run, system, settings = place.run.get(), place.system.get(), place.settings.get()
        ended = place.exit.get()
        pid = run.child.pid if run is not None and self._runs(agent, run) else None
        if run is not None and pid is None and (ended is None or ended.nonce != run.nonce):
            ended = self._lost_exit(agent, run)
        return Container(
            exists=True,
            system=GenerationId(system.id) if system is not None else None,
            fingerprint=settings.fingerprint if settings is not None and settings.intact else None,
            pid=pid,
            launch=run.launch if run is not None else None,
            exit=ended,
        )

    def _runs(self, agent: AgentName, run: Run) -> bool:
        watch = self._watches.get(agent)
        watched = watch is not None and watch.which == run.identity_of(run.supervisor)
        return watched or self._starting.get(agent) == run.nonce

    def _adopt(self, agent: AgentName) -> None:
        """Watch the recorded supervisor if it is the one that runs."""
        run = self._place(agent).run.get()
        if run is not None and self._watches.get(agent) is None:
            self._watches.add(agent, run.identity_of(run.supervisor))

    def _lost_exit(self, agent: AgentName, run: Run) -> Exit:
        known = self._lost.get(agent)
        if known is None or known.nonce != run.nonce:
            known = self._lost[agent] = Exit(run.nonce, time.time(), lost=True)
        return known

    def _on_end(self, agent: AgentName) -> None:
        if self._hint is not None:
            self._hint(agent)

    # making and setting
    async def create(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make the directory with its marker in one rename; there already: only what is missing."""
        place = self._place(agent)
        if not place.exists:
            await self._end(agent, self._config.stop_grace)  # of a container that was deleted by hand
            await asyncio.to_thread(self._make, place, settings)
        elif not self._existing(agent).fingerprint:
            await self.write_settings(agent, settings)
        await self.own_directories(agent, settings)

    def _make(self, place: Place, settings: ContainerSettings) -> None:
        fresh = self._folder / f".new-{place.agent}"
        with disk(f"cannot make the container {place.agent}"):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o755, parents=True)
            write_json(fresh / "hive.json", {"owner": self._owner})
            write_json(fresh / "settings.json", WrittenSettings.of(settings))
            fresh.rename(place.folder)
            sync_directory(self._folder)

    async def set_system(self, agent: AgentName, generation: Generation) -> None:
        """Point `system` at the generation in one rename."""
        place = self._existing_place(agent)
        fresh = place.folder / f".system-{secrets.token_hex(4)}"
        with disk(f"cannot switch {agent} to {generation.id}"):
            fresh.symlink_to(generation.system)
            fresh.rename(place.folder / "system")
            sync_directory(place.folder)
        if self.observe(agent).system != generation.id:
            raise TransientError(f"{generation.system} is not the generation {generation.id}", "it is built again")

    async def write_settings(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Replace settings.json."""
        place = self._existing_place(agent)
        with disk(f"cannot write the settings of {agent}"):
            write_json(place.folder / "settings.json", WrittenSettings.of(settings))

    async def own_directories(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make /state, home and the sockets' directory, owned by the agent's uid; no symlink is followed."""
        layout, uid = self._layout, self._known_host().uid(self._config, settings)
        layout.agent(agent).mkdir(mode=0o755, parents=True, exist_ok=True)
        layout.sockets(agent).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, mode in (
            (layout.agent_state(agent), 0o700),
            (layout.agent_home(agent), 0o700),
            (layout.sockets(agent), 0o750),
        ):
            directories.own(path, uid, mode)
        if settings.role is Role.MANAGER:
            for path in (layout.state / "proposed", layout.state / "applied", layout.meta):
                path.mkdir(mode=0o755, parents=True, exist_ok=True)

    # running
    async def start(self, agent: AgentName, launch: Launch) -> None:
        """Start what is set; returns once the run is on disk and its program was executed."""
        place = self._existing_place(agent)
        self._adopt(agent)
        if self.observe(agent).running:
            return
        await self._end(agent, 0.0)
        self._keep_lost(place)
        settings, system = place.settings.get(), place.system.get()
        if settings is None or not settings.intact or system is None or system.id != launch.generation:
            raise TransientError(f"{agent} is not set to {launch.generation}", "the next pass sets it again")
        await self.own_directories(agent, settings.settings)
        tree = (place.folder / "system").resolve() / "tree"
        subject = Subject(agent, settings.settings, launch, place.folder, tree, system.runtime)
        with disk(f"cannot start {agent}"):
            command = self._command(agent, launch)
            enclosure = enclose(self._layout, self._config, self._known_host(), subject, command)
            joins = self._cgroups.prepare(agent, settings.settings.limits)
            launching.write_spec(place, launch, enclosure, joins, self._config.stop_grace, self._log_limit)
            await self._launch(place, launch)

    async def _launch(self, place: Place, launch: Launch) -> None:
        agent = place.agent
        self._starting[agent] = launch.nonce
        try:
            which = await launching.launch(place)
            if not self._watches.add(agent, which):
                self._on_end(agent)  # it ended already
        except launching.Busy:
            self._adopt_stray(agent)  # of a daemon that was killed in the middle of a start
            if not self.observe(agent).running:
                raise
        finally:
            del self._starting[agent]

    def _adopt_stray(self, agent: AgentName) -> None:
        for name, stray in launching.running_supervisors(self._folder):
            if name == agent:
                self._watches.add(agent, stray)

    def _keep_lost(self, place: Place) -> None:
        """The next start replaces run.json; how the last one ended must not go with it."""
        seen = self.observe(place.agent)
        if seen.exit is not None and seen.exit.lost:
            launching.write_exit(place, seen.exit)
        self._lost.pop(place.agent, None)

    async def stop(self, agent: AgentName, grace: float) -> None:
        """TERM, then KILL after `grace` seconds (or the spec's, if shorter); returns when nothing is left."""
        if not self._place(agent).exists and self._watches.get(agent) is None:
            return
        self._existing(agent, allow_missing=True)
        await self._end(agent, grace)

    async def _end(self, agent: AgentName, grace: float) -> None:
        """End the agent's supervisor, whatever it is, and what a killed one may have left."""
        watch = self._watches.get(agent)
        if watch is not None:
            watch.signal(signal.SIGTERM)
            if not (grace > 0 and await watch.wait(grace)):
                watch.signal(signal.SIGQUIT)
                if not await watch.wait(KILL_SECONDS):
                    watch.signal(signal.SIGKILL)
                    if not await watch.wait(KILL_SECONDS):
                        raise TransientError(f"the supervisor of {agent} does not end although it was killed")
        run = self._place(agent).run.get()
        if run is not None:
            await launching.await_gone(agent, run.identity_of(run.child), KILL_SECONDS)
        ended = self.observe(agent).exit
        if ended is not None and ended.lost:  # a killed supervisor awaited nothing
            for which in launching.running_sandboxes(self._place(agent).folder):
                await launching.await_gone(agent, which, KILL_SECONDS)
        await launching.clear_cgroups(self._cgroups, self._place(agent), KILL_SECONDS)

    async def destroy(self, agent: AgentName) -> None:
        """Stop, and remove the backend's directory; the agent's own stay."""
        await self.stop(agent, self._config.stop_grace)
        place = self._place(agent)
        if not place.exists:
            return
        self._existing(agent)
        gone = self._folder / f".gone-{agent}-{secrets.token_hex(4)}"
        with disk(f"cannot remove the container {agent}"):
            place.folder.rename(gone)
            await asyncio.to_thread(shutil.rmtree, gone)
            sync_directory(self._folder)
        self._places.pop(agent, None)
        self._lost.pop(agent, None)

    async def own_proposed(self, agent: AgentName, manager: ContainerSettings) -> None:
        """Never needed: the work tree is hive's own user's, or root gave it away."""

    async def remove_directories(self, agent: AgentName) -> None:
        """Never needed: hive itself may remove them."""

    async def logs(self, agent: AgentName, lines: int) -> str:
        """The last lines of its output, from at most the last 256 KiB."""
        self._existing(agent, allow_missing=True)
        return await asyncio.to_thread(directories.tail, self._place(agent).folder, lines)

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """The same, and how to go on; `since` to the second."""
        self._existing(agent, allow_missing=True)
        return await asyncio.to_thread(log_file.after, self._place(agent).folder, cursor, lines, since)

    # helpers
    def _known_host(self) -> Host:
        if self._host is None:
            raise TransientError("the backend is not open yet")
        return self._host

    def _place(self, agent: AgentName) -> Place:
        place = self._places.get(agent)
        if place is None:
            place = self._places[agent] = Place(agent, self._folder / agent, self._owner)
        return place

    def _existing_place(self, agent: AgentName) -> Place:
        self._existing(agent)
        return self._place(agent)

    def _existing(self, agent: AgentName, *, allow_missing: bool = False) -> Container:
        what = str(self._folder / agent)
        return existing(agent, self.observe(agent), what, "remove or rename it by hand", allow_missing=allow_missing)
