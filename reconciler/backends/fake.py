"""Containers that are small files and nothing else: for tests and for measuring the loop.

    backend/fake/<agent>.json    marker, settings, system, launch, made-up pid, exit

They survive the daemon as real ones do. Callbacks report starts and ends, so that the composition root can simulate
the link of a real harness.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from meta import own_file
from meta.errors import Damaged, NotFound, Refused, TransientError
from meta.layout import Layout
from meta.model import ContainerSettings, Generation
from meta.names import AgentName, GenerationId
from reconciler.backends.base import Abilities, Hint
from reconciler.backends.records import Stamp, WrittenSettings, stamp
from reconciler.plan.observed import Container, Exit, Held, Launch
from reconciler.views import LogPart

log = logging.getLogger(__name__)
FIRST_PID = 4_194_305
"""Made-up pids lie above the kernel's largest, so that no real process is signalled by mistake."""


OnStart = Callable[[AgentName, Launch], None]
OnStop = Callable[[AgentName], None]


@dataclass(frozen=True, slots=True)
class Record:
    """One container on disk."""

    owner: str
    settings: WrittenSettings | None = None
    system: GenerationId | None = None
    launch: Launch | None = None
    pid: int | None = None
    exit: Exit | None = None
    log: tuple[str, ...] = ()
    times: tuple[float, ...] = ()

    def noted(self, line: str) -> Record:
        """Return the record with one more line, written now. Drop old lines."""
        log, times = (*self.log[-99:], line), (*self.times[-99:], time.time())
        return replace(self, log=log, times=times)


_RECORD = TypeAdapter(Record)
_MISSING = Container()
_FOREIGN = Container(exists=True, ours=False)


@dataclass(slots=True)
class _Cached:
    stamp: Stamp | None
    record: Record | None
    container: Container


class FakeBackend:
    """The backend `fake`. `owner` marks its containers; the callbacks report every start and end."""

    name = "fake"
    harness_uid = 0

    def __init__(
        self,
        layout: Layout,
        *,
        owner: str = "fake",
        on_start: OnStart | None = None,
        on_stop: OnStop | None = None,
    ) -> None:
        self._layout = layout
        self._on_start = on_start
        self._on_stop = on_stop
        self._owner = owner
        self._folder = layout.backend(self.name)
        self._cache: dict[AgentName, _Cached] = {}
        self._files: dict[AgentName, str] = {}
        self._hint: Hint | None = None
        self._next_pid = FIRST_PID

    async def open(self, hint: Hint) -> None:
        """Load every container."""
        self._hint = hint
        self._folder.mkdir(parents=True, exist_ok=True)
        for agent in self.names():
            container = self.observe(agent)
            self._next_pid = max(self._next_pid, (container.pid or 0) + 1)
            if container.running and container.launch is not None and self._on_start is not None:
                self._on_start(agent, container.launch)  # a real harness connects to each new daemon

    async def close(self) -> None:
        """Send no more hints."""
        self._hint = None

    def abilities(self) -> Abilities:
        """Return that nothing is enforced."""
        return Abilities("none: nothing runs", "not enforced: nothing runs", "none", ("backend fake runs no agents",))

    def names(self) -> frozenset[AgentName]:
        """Return every container with this hive's marker."""
        if not self._folder.is_dir():
            return frozenset()
        agents = (AgentName(entry.name[:-5]) for entry in os.scandir(self._folder) if entry.name.endswith(".json"))
        return frozenset(agent for agent in agents if self.observe(agent).ours)

    def observe(self, agent: AgentName) -> Container:
        """Return the container. This costs one stat; the file is read only if it changed."""
        file = self._files.get(agent) or self._files.setdefault(agent, str(self._path(agent)))
        now = stamp(file)
        cached = self._cache.get(agent)
        if cached is None or cached.stamp != now:
            cached = self._load(agent, now)
        return cached.container

    async def create(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make the container, or write its settings again."""
        record = self._ours(agent)
        if record is None:
            self._save(agent, Record(self._owner, settings=_written(settings)))
        elif not self.observe(agent).fingerprint:
            self._save(agent, replace(record, settings=_written(settings)))
        await self.own_directories(agent, settings)

    async def set_system(self, agent: AgentName, generation: Generation) -> None:
        """Record the generation's id."""
        self._save(agent, replace(self._existing(agent), system=generation.id))

    async def write_settings(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Record the settings."""
        self._save(agent, replace(self._existing(agent), settings=_written(settings)))

    async def start(self, agent: AgentName, launch: Launch) -> None:
        """Make up a pid and record the launch in one write."""
        record = self._existing(agent)
        if record.pid is not None:
            return
        if record.system is None or not self.observe(agent).fingerprint:
            raise TransientError(f"{agent} has no system or no settings", "the next pass writes them again")
        noted = record.noted(f"started {launch.generation} as {launch.nonce}")
        self._save(agent, replace(noted, launch=launch, pid=self._next_pid))
        self._next_pid += 1
        if self._on_start is not None:
            self._on_start(agent, launch)

    async def stop(self, agent: AgentName, grace: float) -> None:
        """End the container as a well-behaved agent does on TERM."""
        record = self._ours(agent)
        if record is not None and record.pid is not None:
            self._end(agent, record, Exit("", 0.0, code=0))

    async def destroy(self, agent: AgentName) -> None:
        """Remove the file and the directory of the pods' sockets."""
        await self.stop(agent, 0)
        shutil.rmtree(self._layout.pods(agent), ignore_errors=True)
        self._path(agent).unlink(missing_ok=True)

    async def own_directories(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make the directories. Their owner does not matter here."""
        layout = self._layout
        for make in (layout.agent_state, layout.agent_home, layout.pods, layout.sockets):
            make(agent).mkdir(parents=True, exist_ok=True)

    async def own_proposed(self, agent: AgentName, manager: ContainerSettings) -> None:
        """Do nothing: the work tree belongs to hive's user, or root gave it away."""

    async def remove_directories(self, agent: AgentName) -> None:
        """Do nothing: hive itself may remove them."""

    async def measure(self, agent: AgentName) -> Held | None:
        """Leave it to the daemon, which may read the directories."""
        return None

    async def logs(self, agent: AgentName, lines: int) -> str:
        """Return the last lines that the fake wrote."""
        record = self._ours(agent)
        return "\n".join(record.log[-lines:]) if record is not None and lines > 0 else ""

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """Return the lines after `cursor`, which counts lines."""
        record = self._ours(agent)
        log = record.log if record is not None else ()
        if record is not None and since is not None and cursor is None:
            young = sum(at >= since for at in record.times)
            lines = min(lines, young)
        part = log[max(0, len(log) - lines) :] if cursor is None else log[int(cursor) :]
        return LogPart("".join(f"{line}\n" for line in part), str(len(log)))

    # what tests do to a container
    def crash(self, agent: AgentName, code: int | None = 1, signal: int | None = None) -> None:
        """End the container as if it crashed, with this exit code or by this signal."""
        record = self._existing(agent)
        if record.pid is None:
            raise NotFound(f"{agent} is not running")
        self._end(agent, record, Exit("", 0.0, code=None if signal else code, signal=signal))
        self._send_hint(agent)

    def lose(self, agent: AgentName) -> None:
        """End the container without an exit record."""
        self._end(agent, self._existing(agent), Exit("", 0.0, lost=True))
        self._send_hint(agent)

    def vanish(self, agent: AgentName) -> None:
        """Delete the container as an operator would by hand."""
        running = self.observe(agent).running
        self._path(agent).unlink(missing_ok=True)
        if running and self._on_stop is not None:
            self._on_stop(agent)
        self._send_hint(agent)

    def edit_settings(self, agent: AgentName) -> None:
        """Edit the container's settings as an operator would by hand."""
        record = self._existing(agent)
        if record.settings is not None:
            edited = replace(record.settings.settings, uid_base=record.settings.settings.uid_base + 1)
            self._save(agent, replace(record, settings=replace(record.settings, settings=edited)))
        self._send_hint(agent)

    def delete_settings(self, agent: AgentName) -> None:
        """Delete the container's settings as an operator would by hand."""
        self._save(agent, replace(self._existing(agent), settings=None))
        self._send_hint(agent)

    def delete_system(self, agent: AgentName) -> None:
        """Delete the container's system pointer as an operator would by hand."""
        self._save(agent, replace(self._existing(agent), system=None))
        self._send_hint(agent)

    def _end(self, agent: AgentName, record: Record, how: Exit) -> None:
        ended = replace(how, nonce=record.launch.nonce if record.launch else "", at=time.time())
        self._save(agent, replace(record.noted(ended.describe()), pid=None, exit=ended))
        if self._on_stop is not None:
            self._on_stop(agent)

    def _send_hint(self, agent: AgentName) -> None:
        if self._hint is not None:
            self._hint(agent)

    # files
    def _path(self, agent: AgentName) -> Path:
        return self._folder / f"{agent}.json"

    def _ours(self, agent: AgentName) -> Record | None:
        """Return the container's record, or None. Raise Refused if it is not this hive's."""
        container = self.observe(agent)
        if container.exists and not container.ours:
            raise Refused(
                f"the container {agent} does not belong to this hive", "remove it by hand, or rename the agent"
            )
        return self._cache[agent].record

    def _existing(self, agent: AgentName) -> Record:
        record = self._ours(agent)
        if record is None:
            raise TransientError(f"the container {agent} is missing", "the next pass makes it again")
        return record

    def _load(self, agent: AgentName, now: Stamp | None) -> _Cached:
        record, container = None, _MISSING
        if now is not None:
            try:
                record = _RECORD.validate_json(own_file.read(self._path(agent)))
            except (OSError, Damaged, ValidationError) as error:
                log.warning("%s is not readable as a container of this hive: %s", self._path(agent), error)
            if record is not None and record.owner != self._owner:
                record = None
            container = _FOREIGN if record is None else _container(record)
        cached = self._cache[agent] = _Cached(now, record, container)
        return cached

    def _save(self, agent: AgentName, record: Record) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        own_file.write(self._path(agent), json.dumps(asdict(record)).encode(), sync=False)
        self._cache[agent] = _Cached(stamp(self._path(agent)), record, _container(record))


def _written(settings: ContainerSettings) -> WrittenSettings:
    return WrittenSettings(settings, settings.fingerprint())


def _container(record: Record) -> Container:
    written = record.settings
    return Container(
        exists=True,
        system=record.system,
        fingerprint=written.fingerprint if written is not None and written.intact else None,
        pid=record.pid,
        launch=record.launch,
        exit=record.exit,
    )
