"""The machine that hive runs on, and what the daemon does on it now."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from meta.errors import HiveError
from meta.names import AgentName
from meta.nix import find
from meta.process.disk import disk_error
from meta.process.run import run
from reconciler.common.reserve import room_in
from reconciler.common.tasks import Background
from reconciler.loop.loop import Reconciler
from reconciler.network.way_out import WayOut
from reconciler.telemetry.metrics import database_bytes
from reconciler.upkeep.backups.live import LiveBackup
from reconciler.upkeep.disk.guard import DiskGuard
from reconciler.world import World

VERSION_SECONDS = 5.0
"""Seconds for a program to say its version."""
VERSIONS = 600.0
"""Seconds for which the versions of programs are used again."""
PROC = Path("/proc")
_LINE = re.compile(r"(\w+):\s+(\d+) kB")


@dataclass(frozen=True, slots=True)
class Working:
    """An agent on which the loop works now. `step` is that of the plan, "" while hive looks at it."""

    agent: AgentName
    step: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A task of the daemon that does not work, or does not work now."""

    task: str
    text: str


@dataclass(frozen=True, slots=True)
class HostView:
    """The machine. Sizes are bytes, times Unix seconds. `inodes` (free, all) is null if they are not counted.

    `disk` is the file system of hive's state; `load` the mean of 1, 5 and 15 minutes; `nix` is "" if it is not
    installed. `backup_at`: the last backup that this daemon made, null if none. `own_memory` is the daemon's.
    """

    name: str
    system: str
    started_at: float
    pid: int
    memory: int
    memory_free: int
    own_memory: int
    load: tuple[float, float, float]
    processors: int
    disk: int
    disk_free: int
    disk_full: bool
    inodes: tuple[int, int] | None
    database: int
    python: str
    git: str
    nix: str
    working: tuple[Working, ...]
    queued: int
    troubles: tuple[Trouble, ...]
    way_out: tuple[str, ...]
    backup_at: float | None


class HostQuery:
    """The query. `since` is when the daemon started."""

    def __init__(
        self,
        world: World,
        loop: Reconciler,
        background: Background,
        disk: DiskGuard,
        way_out: WayOut,
        backup: LiveBackup,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._world = world
        self._loop = loop
        self._background = background
        self._disk = disk
        self._way_out = way_out
        self._backup = backup
        self._since = clock()
        self._programs = ("", "")
        self._asked_at = float("-inf")

    async def __call__(self) -> HostView:
        """Look at the machine now. Raise TransientError if its disk cannot be looked at."""
        layout = self._world.layout
        git, nix = await self._versions()
        try:
            room = room_in(await asyncio.to_thread(os.statvfs, layout.state))
        except OSError as error:
            raise disk_error(f"cannot look at {layout.state}", error) from error
        memory = _numbers(PROC / "meminfo")
        working = self._loop.working()
        return HostView(
            name=platform.node(),
            system=f"{platform.system()} {platform.release()}, {platform.machine()}",
            started_at=self._since,
            pid=os.getpid(),
            memory=memory.get("MemTotal", 0),
            memory_free=memory.get("MemAvailable", 0),
            own_memory=_numbers(PROC / "self" / "status").get("VmRSS", 0),
            load=os.getloadavg(),
            processors=os.cpu_count() or 1,
            disk=room.whole,
            disk_free=room.free,
            disk_full=self._disk.full,
            inodes=None if room.inodes is None or room.all_inodes is None else (room.inodes, room.all_inodes),
            database=database_bytes(layout.database),
            python=platform.python_version(),
            git=git,
            nix=nix,
            working=tuple(Working(agent, step) for agent, step in sorted(working.items())),
            queued=max(0, self._loop.queue.depth() - len(working)),
            troubles=tuple(Trouble(task, text) for task, text in self._background.troubles()),
            way_out=self._way_out.notes(),
            backup_at=self._backup.made_at,
        )

    async def _versions(self) -> tuple[str, str]:
        """Return the versions of git and nix, "" for one that is missing."""
        if time.monotonic() - self._asked_at >= VERSIONS:
            self._programs = (await _git(), await _nix())
            self._asked_at = time.monotonic()
        return self._programs


async def _git() -> str:
    try:
        done = await run(["git", "--version"], deadline=VERSION_SECONDS, check=False)
    except HiveError:
        return ""
    return done.text.strip().removeprefix("git version ")[:40]


async def _nix() -> str:
    program = find(None)
    try:
        return "" if program is None else ".".join(map(str, await program.version()))
    except HiveError:
        return ""


def _numbers(path: Path) -> dict[str, int]:
    """Return the sizes that a file of the kernel names, in bytes; none if it cannot be read."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    return {match[1]: int(match[2]) * 1024 for match in _LINE.finditer(text)}
