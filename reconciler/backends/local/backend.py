"""Containers as supervised processes in bubblewrap: any Linux, nothing to install beyond bwrap.

    backend/local/<agent>/
        hive.json              the marker with the owner's id; a directory without it is never touched
        settings.json          limits, uid range, role, with their fingerprint
        system -> generation   the generation that the next start uses
        spec.json lock         what the supervisor runs; the lock that it holds while it runs
        run.json exit.json     the last start and the last end, written by the supervisor
        log log.1 etc/         output; the passwd file of the sandbox
        log.times log.times.1  when each part of the output was written

Each run has a supervisor, which outlives the daemon. The next daemon adopts it by pid, start time and boot id, and
watches it through a pidfd. If the directory of a supervisor was deleted, the daemon finds the supervisor by its command
line and ends it.
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
from meta.errors import HiveError, TransientError
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Role
from meta.names import AgentName, GenerationId
from meta.own_file import sync_folder
from meta.process.failpoint import operation
from meta.process.identity import ProcessIdentity
from reconciler.backends.base import Abilities, Hint
from reconciler.backends.local import cgroups, directories, log_file
from reconciler.backends.local.abilities import abilities
from reconciler.backends.local.enclosure import Host, Subject, enclose, probe
from reconciler.backends.local.launch import (
    Busy,
    await_gone,
    clear_cgroups,
    running_sandboxes,
    running_supervisors,
    start_supervisor,
    write_exit,
    write_spec,
)
from reconciler.backends.local.records import LocalRecords, Run
from reconciler.backends.local.watches import Watches
from reconciler.backends.records import WrittenSettings
from reconciler.backends.refusals import disk, existing
from reconciler.common.files import write_json
from reconciler.common.trees import remove_tree, remove_whole
from reconciler.plan.observed import Container, Exit, Held, Launch
from reconciler.views import LogPart

log = logging.getLogger(__name__)

Command = Callable[[AgentName, Launch], Sequence[str]]
"""Returns the command that runs in the container."""

KILL_SECONDS = 12.0
"""Seconds that a killed container may take to end: a little more than the supervisor's own limit."""


@contextlib.contextmanager
def _isolated(agent: AgentName) -> Iterator[None]:
    """Log what is wrong with one agent's records or process, so that it does not stop the daemon."""
    try:
        yield
    except (OSError, ValueError) as error:
        log.error("%s: cannot watch the recorded run: %s", agent, error)


def harness_command(agent: AgentName, launch: Launch) -> Sequence[str]:
    """Return the command of this installation's harness.

    -P: Python must not import from the agent's working directory.
    """
    return (sys.executable, "-P", "-m", "harness.cli", "serve")


class LocalBackend:
    """The backend `local`. `owner` marks its containers, `command` runs inside them. The `limits` are detected."""

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
        self._all_records: dict[AgentName, LocalRecords] = {}
        self._watches = Watches(self._on_end)
        self._starting: dict[AgentName, str] = {}
        self._lost: dict[AgentName, Exit] = {}
        self._hint: Hint | None = None

    # observing
    async def open(self, hint: Hint) -> None:
        """Adopt the supervisors that run, find those without records, and detect what this host allows."""
        self._hint = hint
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._host = self._host or await probe(self._config)
        for agent in self.names():
            with _isolated(agent):
                self._adopt(agent)
        for agent, stray in running_supervisors(self._folder):
            with _isolated(agent):
                self._adopt_unrecorded(agent, stray)

    def _adopt_unrecorded(self, agent: AgentName, stray: ProcessIdentity) -> None:
        if self._watches.get(agent) is None and self._watches.add(agent, stray):
            log.warning("%s: a supervisor runs without its records (pid %d)", agent, stray.pid)
            if not self._records(agent).exists:  # if it exists, the next start ends it
                self._watches.signal(agent, signal.SIGTERM)

    async def close(self) -> None:
        """Stop watching. The containers keep running."""
        self._hint = None
        self._watches.close()

    def abilities(self) -> Abilities:
        """Return what is enforced here, in words."""
        return abilities(self._known_host(), self._config, self._cgroups)

    def names(self) -> frozenset[AgentName]:
        """Return every container with this hive's marker."""
        try:
            agents = [AgentName(entry.name) for entry in os.scandir(self._folder) if not entry.name.startswith(".")]
        except FileNotFoundError:
            return frozenset()
        return frozenset(agent for agent in agents if self._records(agent).ours)

    def observe(self, agent: AgentName) -> Container:
        """Return the container. This costs a few stats; a file is read only if it changed."""
        records = self._records(agent)
        ours, run = records.ours, records.run.get()
        if (damage := records.damage) is not None:
            return Container(exists=True, damage=damage)
        if not ours:
            return Container(exists=True, ours=False) if records.exists else Container()
        system, settings = records.system.get(), records.settings.get()
        ended = records.exit.get()
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
        """Watch the recorded supervisor if it still runs."""
        run = self._records(agent).run.get()
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

    # making and changing
    async def create(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make the directory with its marker in one rename. If it exists, make only the missing parts."""
        records = self._records(agent)
        if not records.exists:
            await self._end(
                agent, self._config.stop_grace
            )  # a supervisor may be left of a container that was deleted by hand
            await asyncio.to_thread(self._make, records, settings)
        elif not self._existing(agent).fingerprint:
            await self.write_settings(agent, settings)
        await self.own_directories(agent, settings)

    def _make(self, records: LocalRecords, settings: ContainerSettings) -> None:
        fresh = self._folder / f".new-{records.agent}"
        with disk(f"cannot make the container {records.agent}"):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o755, parents=True)
            write_json(fresh / "hive.json", {"owner": self._owner})
            write_json(fresh / "settings.json", WrittenSettings.of(settings))
            operation("made")
            fresh.rename(records.folder)
            sync_folder(self._folder)
            operation("placed")

    async def set_system(self, agent: AgentName, generation: Generation) -> None:
        """Point `system` at the generation in one rename."""
        records = self._existing_records(agent)
        fresh = records.folder / f".system-{secrets.token_hex(4)}"
        with disk(f"cannot switch {agent} to {generation.id}"):
            fresh.symlink_to(generation.system)
            operation("link")
            fresh.rename(records.folder / "system")
            sync_folder(records.folder)
        if self.observe(agent).system != generation.id:
            raise TransientError(f"{generation.system} is not the generation {generation.id}", "hive builds it again")

    async def write_settings(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Replace settings.json."""
        records = self._existing_records(agent)
        with disk(f"cannot write the settings of {agent}"):
            write_json(records.folder / "settings.json", WrittenSettings.of(settings))

    async def own_directories(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make /state, home and the directories of sockets and pods, owned by the agent's uid. Follow no symlink.

        The directory of the way out is hive's own: the agent may enter it, and nothing else.
        """
        layout, uid = self._layout, self._known_host().uid(self._config, settings)
        layout.agent(agent).mkdir(mode=0o755, parents=True, exist_ok=True)
        for folder in (layout.sockets(agent), layout.egress(agent)):
            folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, mode in (
            (layout.agent_state(agent), 0o700),
            (layout.agent_home(agent), 0o700),
            (layout.pods(agent), 0o700),
            (layout.sockets(agent), 0o750),
        ):
            directories.own(path, uid, mode)
            operation(path.name)
        directories.own(layout.egress(agent), os.geteuid(), 0o750, group=os.getegid() if uid is None else uid)
        if settings.role is Role.MANAGER:
            for path in (layout.state / "proposed", layout.state / "applied", layout.meta):
                path.mkdir(mode=0o755, parents=True, exist_ok=True)

    # running
    async def start(self, agent: AgentName, launch: Launch) -> None:
        """Start the system that is set. Return once the run is recorded on disk and its program was executed."""
        records = self._existing_records(agent)
        self._adopt(agent)
        if self.observe(agent).running:
            return
        await self._end(agent, 0.0)
        self._keep_lost_exit(records)
        settings, system = records.settings.get(), records.system.get()
        if settings is None or not settings.intact or system is None or system.id != launch.generation:
            raise TransientError(f"{agent} is not set to {launch.generation}", "the next pass sets it again")
        await self.own_directories(agent, settings.settings)
        tree = (records.folder / "system").resolve() / "tree"
        subject = Subject(agent, settings.settings, launch, records.folder, tree, system.runtime)
        with disk(f"cannot start {agent}"):
            command = self._command(agent, launch)
            enclosure = enclose(self._layout, self._config, self._known_host(), subject, command)
            joins = self._cgroups.prepare(agent, settings.settings.limits)
            write_spec(records, launch, enclosure, joins, self._config.stop_grace, self._log_limit)
            operation("spec")
            await self._launch(records, launch)

    async def _launch(self, records: LocalRecords, launch: Launch) -> None:
        agent = records.agent
        self._starting[agent] = launch.nonce
        try:
            which = await start_supervisor(records)
            if not self._watches.add(agent, which):
                self._on_end(agent)  # it has ended already
        except Busy:
            self._adopt_stray(agent)  # left by a daemon that was killed during a start
            if not self.observe(agent).running:
                raise
        finally:
            del self._starting[agent]

    def _adopt_stray(self, agent: AgentName) -> None:
        for name, stray in running_supervisors(self._folder):
            if name == agent:
                self._watches.add(agent, stray)

    def _keep_lost_exit(self, records: LocalRecords) -> None:
        """Write the exit of a lost run: the next start replaces run.json, from which it is derived."""
        seen = self.observe(records.agent)
        if seen.exit is not None and seen.exit.lost:
            write_exit(records, seen.exit)
        self._lost.pop(records.agent, None)

    async def stop(self, agent: AgentName, grace: float) -> None:
        """Send TERM, then KILL after `grace` seconds (or the spec's, if shorter). Return when no process is left."""
        if not self._records(agent).exists and self._watches.get(agent) is None:
            return
        self._existing(agent, allow_missing=True)
        await self._end(agent, grace)

    async def _end(self, agent: AgentName, grace: float) -> None:
        """End the agent's supervisor, however it is, and the processes that a killed supervisor may have left."""
        watch = self._watches.get(agent)
        if watch is not None:
            watch.signal(signal.SIGTERM)
            if not (grace > 0 and await watch.wait(grace)):
                watch.signal(signal.SIGQUIT)
                if not await watch.wait(KILL_SECONDS):
                    watch.signal(signal.SIGKILL)
                    if not await watch.wait(KILL_SECONDS):
                        raise TransientError(f"the supervisor of {agent} does not end although it was killed")
        run = self._records(agent).run.get()
        if run is not None:
            await await_gone(agent, run.identity_of(run.child), KILL_SECONDS)
        ended = self.observe(agent).exit
        if ended is not None and ended.lost:  # a killed supervisor waited for no process
            for which in running_sandboxes(self._records(agent).folder):
                await await_gone(agent, which, KILL_SECONDS)
        await clear_cgroups(self._cgroups, self._records(agent), KILL_SECONDS)

    async def destroy(self, agent: AgentName) -> None:
        """Stop and remove the backend's directory, the way out and the pods' sockets. State and home stay."""
        await self.stop(agent, self._config.stop_grace)
        records = self._records(agent)
        if not records.exists:
            return
        self._existing(agent)
        await asyncio.to_thread(shutil.rmtree, self._layout.egress(agent), ignore_errors=True)
        await self._remove_pods(agent)
        removed = self._folder / f".gone-{agent}-{secrets.token_hex(4)}"
        with disk(f"cannot remove the container {agent}"):
            records.folder.rename(removed)
            sync_folder(self._folder)
            operation("moved")
            await asyncio.to_thread(remove_whole, removed)
        self._all_records.pop(agent, None)
        self._lost.pop(agent, None)

    async def _remove_pods(self, agent: AgentName) -> None:
        """Remove the directory of the pods' sockets. What the agent made to be in the way stays until the purge."""
        folder = self._layout.pods(agent)
        try:
            await remove_tree(folder, inside=folder.parent.parent)
        except (HiveError, RecursionError) as error:
            log.warning("%s: %s is not removed: %s", agent, folder, error)

    async def own_proposed(self, agent: AgentName, manager: ContainerSettings) -> None:
        """Do nothing: the work tree belongs to hive's user, or root gave it away."""

    async def remove_directories(self, agent: AgentName) -> None:
        """Do nothing: hive itself may remove them."""

    async def measure(self, agent: AgentName) -> Held | None:
        """Leave it to the daemon, which may read the directories."""
        return None

    async def logs(self, agent: AgentName, lines: int) -> str:
        """Return the last lines of the output. Read at most the last 256 KiB."""
        self._existing(agent, allow_missing=True)
        return await asyncio.to_thread(directories.tail, self._records(agent).folder, lines)

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """Return the lines after `cursor`, and the next cursor. `since` is accurate to the second."""
        self._existing(agent, allow_missing=True)
        return await asyncio.to_thread(log_file.after, self._records(agent).folder, cursor, lines, since)

    # helpers
    def _known_host(self) -> Host:
        if self._host is None:
            raise TransientError("the backend is not open yet")
        return self._host

    def _records(self, agent: AgentName) -> LocalRecords:
        records = self._all_records.get(agent)
        if records is None:
            records = self._all_records[agent] = LocalRecords(agent, self._folder / agent, self._owner)
        return records

    def _existing_records(self, agent: AgentName) -> LocalRecords:
        self._existing(agent)
        return self._records(agent)

    def _existing(self, agent: AgentName, *, allow_missing: bool = False) -> Container:
        what = str(self._folder / agent)
        return existing(agent, self.observe(agent), what, "remove or rename it by hand", allow_missing=allow_missing)
