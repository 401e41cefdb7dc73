"""The directory that backend `local` keeps for one agent, read through caches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from meta.names import AgentName
from meta.process.identity import ProcessIdentity
from reconciler.backends.records import EXIT, MARKER, SETTINGS, Cached
from reconciler.plan.observed import Launch


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the supervisor records it: pid and start time in clock ticks since boot."""

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class Run:
    """run.json: one start, with its supervisor and the process that represents the container."""

    nonce: str
    launch: Launch
    boot: str
    supervisor: Process
    child: Process

    def identity_of(self, process: Process) -> ProcessIdentity:
        """Return an identity that no later process can have."""
        return ProcessIdentity(process.pid, process.start, self.boot)


@dataclass(frozen=True, slots=True)
class BuiltSystem:
    """generation.json, as far as a backend needs it."""

    id: str
    runtime: str


@dataclass(frozen=True, slots=True)
class JoinedGroups:
    """spec.json, as far as a backend reads it: the cgroup.procs files that the run joined."""

    cgroups: tuple[str, ...] = ()


_RUN = TypeAdapter(Run)
_SPEC = TypeAdapter(JoinedGroups)
_SYSTEM = TypeAdapter(BuiltSystem)


class LocalRecords:
    """The records of one agent. Each read costs one stat while nothing changed."""

    def __init__(self, agent: AgentName, folder: Path, owner: str) -> None:
        self.agent = agent
        self.folder = folder
        self._owner = owner
        self._name = str(folder)
        self._marker = Cached(folder / "hive.json", MARKER.validate_json)
        self.settings = Cached(folder / "settings.json", SETTINGS.validate_json)
        self.system = Cached(folder / "system" / "generation.json", _SYSTEM.validate_json)
        self.run = Cached(folder / "run.json", _RUN.validate_json)
        self.spec = Cached(folder / "spec.json", _SPEC.validate_json)
        self.exit = Cached(folder / "exit.json", EXIT.validate_json)

    @property
    def exists(self) -> bool:
        """True if an entry of that name exists, hive's or not (even a dangling symlink)."""
        return os.path.lexists(self._name)

    @property
    def damage(self) -> tuple[str, str] | None:
        """What is wrong with a record that hive cannot make again without touching the agent, and the remedy.

        Read `ours` and `run` first.
        """
        if self._marker.damage:
            text = f'{{"owner": "{self._owner}"}}'
            return self._marker.damage, f"if it is a container of this hive, remove it and write {text} to a new file"
        if self.run.damage:
            return self.run.damage, "remove that file: hive ends what still runs of the agent, then starts it again"
        return None

    @property
    def ours(self) -> bool:
        """True if the entry has this hive's marker."""
        marker = self._marker.get()
        return marker is not None and marker.owner == self._owner
