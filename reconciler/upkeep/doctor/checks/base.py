"""The types of a check: the subject that it examines, and a finding with its remedy and repair."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from meta.applied.repo import Applied
from meta.config import Config
from meta.desired.repo import MetaRepo, MetaView
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName, agent_name
from meta.process.landlock import abi
from meta.proposed.push_group import Groups, gid_of
from reconciler.upkeep.doctor.checks import programs
from reconciler.upkeep.doctor.checks.clock import jumped, synchronised

SETTLED = 600.0
"""Seconds after which a running daemon no longer uses a lock or a record. Its git commands end much earlier."""


class Verdict(StrEnum):
    """The severity of a finding. Only `fail` makes `hive doctor` fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check in one sentence. `remedy`: what an operator can do; `fix` does it, if that is safe.

    `fix` checks again before it changes anything, returns what it did, and may raise OSError or a HiveError.
    `removes`: it removes something, so the operator is asked first.
    """

    verdict: Verdict
    text: str
    remedy: str = ""
    fix: Callable[[], str | Awaitable[str]] | None = None
    removes: bool = True


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent of `hive status`. `declared` is how the host's configuration stands to git.

    `program` is its runtime with the version of the CLI, as its harness reports it; `problem` why that does not start.
    """

    name: str
    phase: str
    conditions: tuple[str, ...] = ()
    declared: str = ""
    program: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Daemon:
    """The answers of the daemon behind http.sock. `trouble` is its problem, or "".

    `notes` and `agents` are those of `hive status`. `path` is the PATH on which it looks for programs, None if it does
    not say; `named` is its HIVE_AGENT_PROGRAMS. `dashboard` is the origin of its dashboard, or "".
    """

    state: str
    revision: str
    backend: str
    builder: str
    limits: str
    isolation: str
    trouble: str = ""
    notes: tuple[str, ...] = ()
    agents: tuple[AgentRow, ...] = ()
    path: str | None = None
    named: str = ""
    dashboard: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """The parts of the machine that a test replaces. `files`: how many files a process may have open.

    `systemd` is the runtime directory of systemd. `groups` returns the gid of a group, or None. `root` is root's uid.
    `programs` finds programs as agents see them, on a PATH (None: this process's).
    """

    proc: Path = Path("/proc")
    now: Callable[[], float] = time.time
    disk: Callable[[Path], os.statvfs_result] = os.statvfs
    files: Callable[[], int] = lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    synchronised: Callable[[], bool | None] = synchronised
    systemd: Path = Path("/run/systemd")
    credentials: Path = Path("/etc/hive/credentials.json")
    containers: Path = Path("/etc/nixos-containers")
    root: int = 0
    groups: Groups = gid_of
    programs: Callable[[Config, str | None], Mapping[str, programs.Place]] = programs.find
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    landlock: Callable[[], int] = abi


@dataclass(slots=True)
class Subject:
    """One hive and its host. `held`: a daemon holds the state directory. `daemon`: the one that answers on http.sock.

    `backend` and `builder` are those of the daemon. If no daemon answers, they are those of the environment.
    """

    layout: Layout
    config: Config
    backend: str = "local"
    builder: str = "plain"
    held: bool = False
    daemon: Daemon | None = None
    host: Host = field(default_factory=Host)
    _view: MetaView | None = None
    _applied: dict[AgentName, Applied] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """True if there is a hive in the directory."""
        return self.layout.lock.exists() or self.layout.meta_git.is_dir()

    async def view(self) -> MetaView | None:
        """Return the view of meta; None if it cannot be read (the check `meta` reports the reason)."""
        if self._view is None:
            try:
                self._view = await self.read_meta()
            except HiveError:
                return None
        return self._view

    async def read_meta(self) -> MetaView:
        """Read the view of meta again. Raise HiveError."""
        return await MetaRepo(self.layout, config=self.config, deadline=self.config.git_deadline).read()

    def repos(self) -> list[AgentName]:
        """Return the agents that have an applied repo, sorted."""
        return [name for name in names_in(self.layout.state / "applied") if self.layout.applied_git(name).is_dir()]

    def applied(self, agent: AgentName) -> Applied:
        """Return the agent's applied repo. It keeps what it read until its refs change."""
        if agent not in self._applied:
            self._applied[agent] = Applied(self.layout, agent, deadline=self.config.git_deadline)
        return self._applied[agent]

    def settled(self, path: Path) -> bool:
        """Return True if no process can use `path` any more: no daemon runs, or the file is old.

        Return False if it is missing. A file that only looks old because the clock was set forward does not count as
        old.
        """
        try:
            age = self.host.now() - path.lstat().st_mtime
        except OSError:
            return False
        return not self.held or age - max(0.0, self.jump()) > SETTLED

    def jump(self) -> float:
        """Return the seconds by which the clock was set forward while the daemon ran (back: negative)."""
        return jumped(self.host.proc, self.layout.lock, self.host.now()) if self.held else 0.0


def ok(text: str) -> list[Finding]:
    """Return the findings of a check that found no problem."""
    return [Finding(Verdict.OK, text)]


def names_in(folder: Path) -> list[AgentName]:
    """Return the entries of `folder` that are named like agents, sorted. Return none if there is no such folder."""
    names = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            names.append(agent_name(entry.name))
        except HiveError:
            continue
    return names
