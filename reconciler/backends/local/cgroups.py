"""Resource limits by control groups that hive may write: version 2, or the version 1 hierarchies.

One group per agent below `hive-<owner>`, which lies in the nearest ancestor of the daemon's own group that hive may
write and that has the controllers. The supervisor's child joins before it executes anything. If hive may write no
hierarchy, the limits are not enforced, and `Cgroups.summary` reports that.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meta.model import Limits
from meta.names import AgentName
from reconciler.common.controllers import CONTROLLERS

log = logging.getLogger(__name__)

PERIOD_US = 100_000
"""The scheduler's period: a CPU limit of 50 percent is 50 ms in every 100 ms."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy: `base` is writable and has `controllers`."""

    version: int
    base: Path
    controllers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The groups of one hive. `group`: name of hive's own directory in each hierarchy."""

    hierarchies: tuple[Hierarchy, ...]
    group: str
    reason: str = ""

    @property
    def summary(self) -> str:
        """The limits that are enforced, for `hive status`."""
        available = frozenset().union(*(each.controllers for each in self.hierarchies))
        if not available:
            return f"not enforced: {self.reason or 'there is no cgroup controller'}"
        missing = [name for name in CONTROLLERS if name not in available]
        version = self.hierarchies[0].version
        enforced = f"{', '.join(name for name in CONTROLLERS if name in available)} enforced (cgroup v{version})"
        return f"{enforced}; not enforced: {', '.join(missing)}" if missing else enforced

    def _directories(self, agent: AgentName) -> Iterator[tuple[Hierarchy, Path]]:
        for hierarchy in self.hierarchies:
            yield hierarchy, hierarchy.base / self.group / agent

    def prepare(self, agent: AgentName, limits: Limits) -> list[Path]:
        """Make the agent's groups with these limits and return the cgroup.procs files to join.

        Raise OSError on failure.
        """
        joins = []
        for hierarchy, directory in self._directories(agent):
            directory.parent.mkdir(exist_ok=True)
            if hierarchy.version == 2:
                _enable(directory.parent, hierarchy.controllers)
            directory.mkdir(exist_ok=True)
            for name, value in settings_of(hierarchy, limits):
                _write(directory / name, value)
            joins.append(directory / "cgroup.procs")
        return joins

    def directories(self, agent: AgentName) -> set[Path]:
        """Return the directories in which `prepare` would make the agent's groups now. An earlier daemon may have used
        others.
        """
        return {directory for _, directory in self._directories(agent)}


def processes(directories: Iterable[Path]) -> set[int]:
    """Return the processes in these groups."""
    pids: set[int] = set()
    for directory in directories:
        with contextlib.suppress(OSError):
            pids.update(int(pid) for pid in (directory / "cgroup.procs").read_text().split())
    return pids


def kill(directories: Iterable[Path]) -> None:
    """Send KILL to every process in these groups."""
    for pid in processes(directories):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove(directories: Iterable[Path]) -> bool:
    """Remove these groups, and then hive's own above them if it is empty. Return False if one still has processes."""
    removed = True
    for directory in directories:
        try:
            directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno == errno.EBUSY:
                removed = False
            else:
                log.warning("cannot remove the cgroup %s: %s", directory, error)
            continue
        with contextlib.suppress(OSError):
            directory.parent.rmdir()
    return removed


def settings_of(hierarchy: Hierarchy, limits: Limits) -> list[tuple[str, str]]:
    """Return the files to write, in order, with their content.

    "No limit" is written too, because the group may be older.
    """
    wanted: list[tuple[str, str]] = []
    memory = None if limits.memory_mib is None else limits.memory_mib * 2**20
    cpu = None if limits.cpu_percent is None else limits.cpu_percent * PERIOD_US // 100
    if "memory" in hierarchy.controllers:
        if hierarchy.version == 2:
            wanted += [("memory.max", _or(memory, "max")), ("memory.swap.max", "max" if memory is None else "0")]
        else:
            wanted += [("memory.limit_in_bytes", _or(memory, "-1"))]
    if "pids" in hierarchy.controllers:
        wanted += [("pids.max", _or(limits.pids, "max"))]
    if "cpu" in hierarchy.controllers:
        if hierarchy.version == 2:
            wanted += [("cpu.max", f"{_or(cpu, 'max')} {PERIOD_US}")]
        else:
            wanted += [("cpu.cfs_period_us", str(PERIOD_US)), ("cpu.cfs_quota_us", _or(cpu, "-1"))]
    return wanted


def _or(value: int | None, unlimited: str) -> str:
    return unlimited if value is None else str(value)


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value, encoding="ascii")
    except FileNotFoundError:
        if path.name != "memory.swap.max":  # missing without swap accounting
            raise


def detect(owner: str, mountinfo: str | None = None, own: str | None = None) -> Cgroups:
    """Detect the hierarchies in which hive may make groups.

    `mountinfo` and `own` are the texts of /proc/self/{mountinfo,cgroup}.
    """
    group = f"hive-{owner[:12]}"
    mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8") if mountinfo is None else mountinfo
    own = Path("/proc/self/cgroup").read_text(encoding="ascii") if own is None else own
    paths = {names: path for _, names, path in (line.split(":", 2) for line in own.splitlines())}
    unified: list[Hierarchy] = []
    legacy: list[Hierarchy] = []
    mounted = False
    for kind, mount, root, options in _mounts(mountinfo):
        mounted = True
        if kind == "cgroup2":
            unified += _version_2(mount, root, paths.get("", "/"))
        else:
            legacy += _version_1(mount, root, options, paths)
    chosen = unified or legacy
    reason = "" if chosen else ("hive may not write a cgroup here" if mounted else "no cgroup hierarchy is mounted")
    return Cgroups(tuple(chosen), group, reason)


def _mounts(mountinfo: str) -> Iterator[tuple[str, Path, str, frozenset[str]]]:
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, *rest = right.split(" ")
        if kind in ("cgroup", "cgroup2"):
            fields = left.split(" ")
            yield kind, Path(fields[4]), fields[3], frozenset(rest[-1].split(","))


def _below(mount: Path, root: str, path: str) -> Path:
    inside = path.removeprefix(root) if root != "/" else path
    return mount / inside.strip("/")


def _version_1(mount: Path, root: str, options: frozenset[str], paths: dict[str, str]) -> list[Hierarchy]:
    controllers = options & set(CONTROLLERS)
    own = next((path for names, path in paths.items() if controllers & set(names.split(","))), None)
    if not controllers or own is None:
        return []
    base = _below(mount, root, own)
    return [Hierarchy(1, base, controllers)] if os.access(base, os.W_OK) and _writable(base) else []


def _version_2(mount: Path, root: str, own: str) -> list[Hierarchy]:
    """Return the nearest ancestor that can enable controllers. The own group cannot: it has processes."""
    wanted = set(CONTROLLERS)
    base = _below(mount, root, own)
    while base.is_relative_to(mount):
        with contextlib.suppress(OSError):
            offered = wanted & set((base / "cgroup.controllers").read_text().split())
            if offered and _writable(base) and os.access(base / "cgroup.procs", os.W_OK):
                _enable(base, offered)
                return [Hierarchy(2, base, frozenset(offered))]
        base = base.parent
    return []


def _enable(directory: Path, controllers: frozenset[str] | set[str]) -> None:
    file = directory / "cgroup.subtree_control"
    missing = sorted(controllers - set(file.read_text().split()))
    if missing:
        file.write_text(" ".join(f"+{name}" for name in missing), encoding="ascii")


def _writable(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK) and not os.statvfs(directory).f_flag & os.ST_RDONLY
