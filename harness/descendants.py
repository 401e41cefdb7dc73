"""The processes that a child of the harness leaves behind: found by /proc, ended, and reaped.

The harness is the subreaper of its descendants: a process that leaves its group and whose parent ends becomes a child
of the harness. So everything that a CLI started stays below the harness until it is ended here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

MARKER = "HIVE_CHILD"
"""The variable by which a descendant of a child is known, unless it clears its environment."""

SWEEP_SECONDS = 10.0
"""Seconds to end what a child left behind. A process stuck in the kernel does not end sooner."""

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_PROC = Path("/proc")
_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """One process, once: its number, and the start time that tells it from a later one with the same number."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class _Row:
    process: Process
    parent: int
    zombie: bool


class Orphans:
    """What the harness inherits as subreaper. There is one in a process: `orphans`."""

    def __init__(self) -> None:
        self._roots: dict[int, str] = {}
        """The children that `harness.child` started: pid to marker. Their owner reaps them."""
        self._seen: dict[Process, str] = {}
        """Descendants that were seen while a child ran, with its marker."""
        self._waiting: set[Process] = set()
        """Zombies that nobody reaped yet when they were last seen."""
        self._alone = False

    def adopt_everything(self) -> None:
        """Become the subreaper, and count each child as left behind that no caller of this module started.

        For a process that starts programs only by `harness.child`: it then also finds what cleared its environment.
        """
        self._alone = become_subreaper()

    def add(self, pid: int, marker: str) -> None:
        """Note a child, which is no orphan. Its owner reaps it and calls `remove`."""
        become_subreaper()
        self._roots[pid] = marker

    def remove(self, pid: int) -> None:
        """Forget a child that was reaped. Without one, a process that is not alone inherits nothing any more."""
        self._roots.pop(pid, None)
        if not self._roots and not self._alone:
            become_subreaper(on=False)

    def look(self) -> None:
        """Note the descendants that run now, and reap what ended without an owner. Cheap: for every few seconds."""
        rows = _read_rows()
        now = {row.process for row in rows.values()}
        self._seen = {process: marker for process, marker in self._seen.items() if process in now}
        for root, marker in self._roots.items():
            for process in _below(root, rows):
                self._seen.setdefault(process, marker)
        self._reap(rows)

    async def sweep(self, pid: int, marker: str) -> int:
        """End every descendant of a child that has ended or shall end with them; return how many are left.

        Processes that belong to another child that runs are spared.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SWEEP_SECONDS
        while True:
            rows = _read_rows()
            self._reap(rows)
            victims = self._victims(pid, marker, rows)
            self._seen |= dict.fromkeys(victims, marker)
            alive = {victim for victim in victims if not rows[victim.pid].zombie}
            if not victims or loop.time() > deadline:
                break
            for victim in alive:
                send(victim, signal.SIGKILL)
            await asyncio.sleep(_PAUSE)
        if alive:
            log.warning("%d processes that a CLI left behind do not end", len(alive))
        return len(alive)

    def _victims(self, pid: int, marker: str, rows: dict[int, _Row]) -> set[Process]:
        victims = set(_below(pid, rows))
        for row in rows.values():
            if row.parent == os.getpid() and row.process.pid not in self._roots and self._belongs(row, pid, marker):
                victims |= {row.process, *_below(row.process.pid, rows)}
        return victims

    def _belongs(self, row: _Row, pid: int, marker: str) -> bool:
        """Return True if this child of the harness was left behind by the child `pid`, or by one that is gone."""
        theirs = _marker(row.process.pid) or self._seen.get(row.process)
        if theirs is not None:
            return theirs == marker or theirs not in self._roots.values()
        return self._alone and self._roots.keys() <= {pid}

    def _reap(self, rows: dict[int, _Row]) -> None:
        """Reap zombies without an owner: known ones at once, others if they were there the last time too."""
        parent = os.getpid()
        orphaned = [row for row in rows.values() if row.parent == parent and row.process.pid not in self._roots]
        zombies = {row.process for row in orphaned if row.zombie}
        mine = zombies & (self._seen.keys() | self._waiting if self._alone else self._seen.keys())
        for process in mine:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG)
            rows.pop(process.pid)
        self._waiting = zombies - mine


def become_subreaper(*, on: bool = True) -> bool:
    """Let this process inherit its descendants whose parent ends, or no longer. Return False if the kernel refuses."""
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, int(on), 0, 0, 0) == 0)
    except (OSError, AttributeError) as error:
        log.warning("processes that a CLI leaves behind cannot be inherited: %s", error)
        return False


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to exactly this process. Harmless if it has ended or belongs to another user."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        row = _read_row(process.pid)
        if row is not None and row.process == process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def _below(root: int, rows: dict[int, _Row]) -> Iterator[Process]:
    """Return the descendants of a process, without itself."""
    children: dict[int, list[int]] = {}
    for pid, row in rows.items():
        children.setdefault(row.parent, []).append(pid)
    open_, seen = [root], {root}
    while open_:
        for pid in children.get(open_.pop(), ()):
            if pid not in seen:
                seen.add(pid)
                open_.append(pid)
                yield rows[pid].process


def _read_rows() -> dict[int, _Row]:
    numbers = [int(name) for name in os.listdir(_PROC) if name.isdecimal()]  # noqa: PTH208
    rows = ((pid, _read_row(pid)) for pid in numbers)
    return {pid: row for pid, row in rows if row is not None}


def _read_row(pid: int) -> _Row | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the program's name before it may contain spaces and parentheses
    return _Row(Process(pid, int(fields[19])), int(fields[1]), fields[0] in "ZX")


def _marker(pid: int) -> str | None:
    """Return the marker in the environment that a process was started with; None if it has none or ended."""
    try:
        data = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    start = f"{MARKER}=".encode()
    found = [entry for entry in data.split(b"\0") if entry.startswith(start)]
    return found[0][len(start) :].decode("ascii", "replace") if found else None


orphans = Orphans()
