"""The shapes of a check: what it examines, what it finds, and how something that is safe to mend is mended."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from meta.applied.repo import Applied
from meta.config import Config
from meta.desired.repo import MetaRepo, MetaView
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName, agent_name
from meta.proposed.push_group import Groups, gid_of
from reconciler.upkeep.doctor.checks.clock import jumped, synchronised

SETTLED = 600.0
"""Seconds after which nothing of a running daemon still uses a lock or a record: its git commands end much earlier."""


class Verdict(StrEnum):
    """How bad. Only `fail` makes `hive doctor` fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of a check. `remedy`: what to do; `fix` does it where that is safe, and says what it did.

    `fix` looks again before it touches anything, and may raise OSError.
    """

    verdict: Verdict
    text: str
    remedy: str = ""
    fix: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class AgentSaid:
    """One agent as `hive status` has it."""

    name: str
    phase: str
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the daemon behind http.sock says. `trouble`: why it is not well, "" when it is.

    `notes` and `agents` are those of `hive status`.
    """

    state: str
    revision: str
    backend: str
    builder: str
    limits: str
    isolation: str
    trouble: str = ""
    notes: tuple[str, ...] = ()
    agents: tuple[AgentSaid, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """What of the machine a test replaces. `files`: how many files a process may have open.

    `systemd`: where it keeps what it is about. `groups`: the gid of a group, None where there is none.
    """

    proc: Path = Path("/proc")
    now: Callable[[], float] = time.time
    disk: Callable[[Path], os.statvfs_result] = os.statvfs
    files: Callable[[], int] = lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    synchronised: Callable[[], bool | None] = synchronised
    systemd: Path = Path("/run/systemd")
    groups: Groups = gid_of


@dataclass(slots=True)
class Subject:
    """One hive and its host. `held`: a daemon has the state directory; `daemon`: what answers on http.sock.

    `backend` and `builder` are those of the daemon, or of the environment when none answers.
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
        """Whether there is a hive at all."""
        return self.layout.lock.exists() or self.layout.meta_git.is_dir()

    async def view(self) -> MetaView | None:
        """What meta says; None when it cannot be read (the check `meta` tells why)."""
        if self._view is None:
            try:
                self._view = await self.read_meta()
            except HiveError:
                return None
        return self._view

    async def read_meta(self) -> MetaView:
        """What meta says now. Raises HiveError."""
        return await MetaRepo(self.layout, config=self.config, deadline=self.config.git_deadline).read()

    def repos(self) -> list[AgentName]:
        """The agents that have an applied repo, sorted."""
        return [name for name in names_in(self.layout.state / "applied") if self.layout.applied_git(name).is_dir()]

    def applied(self, agent: AgentName) -> Applied:
        """The agent's applied repo; what was read of it is remembered while its refs stay."""
        if agent not in self._applied:
            self._applied[agent] = Applied(self.layout, agent, deadline=self.config.git_deadline)
        return self._applied[agent]

    def settled(self, path: Path) -> bool:
        """Whether nothing can still be using `path`: no daemon runs, or it is old. False when it is gone.

        What a clock that was set forward makes look old is not.
        """
        try:
            age = self.host.now() - path.lstat().st_mtime
        except OSError:
            return False
        return not self.held or age - max(0.0, self.jump()) > SETTLED

    def jump(self) -> float:
        """Seconds by which the clock was set forward while the daemon ran (back: negative)."""
        return jumped(self.host.proc, self.layout.lock, self.host.now()) if self.held else 0.0


CheckFunction = Callable[[Subject], Awaitable[list[Finding]]]


def ok(text: str) -> list[Finding]:
    """The whole answer of a check that found nothing wrong."""
    return [Finding(Verdict.OK, text)]


def names_in(folder: Path) -> list[AgentName]:
    """The entries of `folder` that are named like agents, sorted; none when there is no such folder."""
    found = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            found.append(agent_name(entry.name))
        except HiveError:
            continue
    return found
