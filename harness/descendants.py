"""The processes that a child of the harness leaves behind: found by /proc, ended, and reaped.

The harness is the subreaper of its descendants: a process that leaves its group and whose parent ends becomes a child
of the harness. So everything that a CLI started stays below the harness until it is ended here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

from harness import process_table
from harness.process_table import Process, Row, below, read_row, read_rows, send

log = logging.getLogger(__name__)

MARKER = "HIVE_CHILD"
"""The variable by which a descendant of a child is known, unless it clears its environment."""

SWEEP_SECONDS = 10.0
"""Seconds to end what a child left behind. A process stuck in the kernel does not end sooner."""

_PROC = Path("/proc")
_PAUSE = 0.02


class Orphans:
    """What the harness inherits as subreaper. There is one in a process: `orphans`."""

    def __init__(self) -> None:
        self._roots: dict[int, str] = {}
        """The children that `harness.child` started: pid to marker. Their owner reaps them."""
        self._seen: dict[Process, str] = {}
        """Descendants that were seen while a child ran, with its marker."""
        self._waiting: set[Process] = set()
        """Zombies that nobody reaped yet when they were last seen."""
        self._spared: set[Process] = set()
        """Children that are to live on, and what they start. Their owner reaps them."""
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

    def spare(self, pid: int) -> None:
        """Let a process live on that is no part of a CLI: a sub-agent. Its owner reaps it.

        Nothing is to be undone when it has ended. Harmless if it has ended already.
        """
        row = read_row(pid)
        if row is not None:
            self._spared.add(row.process)

    def look(self) -> None:
        """Note the descendants that run now, and reap what ended without an owner. Cheap: for every few seconds."""
        rows = read_rows()
        now = {row.process for row in rows.values()}
        self._seen = {process: marker for process, marker in self._seen.items() if process in now}
        for root, marker in self._roots.items():
            for process in below(root, rows):
                self._seen.setdefault(process, marker)
        self._spared &= now
        self._reap(rows)

    async def sweep(self, pid: int, marker: str) -> int:
        """End every descendant of a child that has ended or shall end with them; return how many are left.

        Processes that belong to another child that runs are spared.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SWEEP_SECONDS
        while True:
            rows = read_rows()
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

    def _victims(self, pid: int, marker: str, rows: dict[int, Row]) -> set[Process]:
        victims = set(below(pid, rows))
        for row in self._inherited(rows):
            if self._belongs(row, pid, marker):
                victims |= {row.process, *below(row.process.pid, rows)}
        return victims

    def _inherited(self, rows: dict[int, Row]) -> list[Row]:
        """Return the children of this process that nobody else answers for."""
        mine = [row for row in rows.values() if row.parent == os.getpid()]
        return [row for row in mine if row.process.pid not in self._roots and row.process not in self._spared]

    def _belongs(self, row: Row, pid: int, marker: str) -> bool:
        """Return True if this child of the harness was left behind by the child `pid`, or by one that is gone."""
        theirs = _marker(row.process.pid) or self._seen.get(row.process)
        if theirs is not None:
            return theirs == marker or theirs not in self._roots.values()
        return self._alone and self._roots.keys() <= {pid}

    def _reap(self, rows: dict[int, Row]) -> None:
        """Reap zombies without an owner: known ones at once, others if they were there the last time too."""
        zombies = {row.process for row in self._inherited(rows) if row.zombie}
        mine = zombies & (self._seen.keys() | self._waiting if self._alone else self._seen.keys())
        for process in mine:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG)
            rows.pop(process.pid)
        self._waiting = zombies - mine


def become_subreaper(*, on: bool = True) -> bool:
    """Let this process inherit its descendants whose parent ends, or no longer. Return False if the kernel refuses."""
    try:
        process_table.become_subreaper(on=on)
    except OSError as error:
        log.warning("processes that a CLI leaves behind cannot be inherited: %s", error)
        return False
    return True


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
