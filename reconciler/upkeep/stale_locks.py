"""Remove the locks that a killed git left in hive's repos and in push repos, while the daemon runs.

A lock counts if two looks, EVERY seconds apart, find it the same and older than STALE: so a clock that is set forward
makes none of them old. It is removed if no process works in the repo or has it open, as far as hive can see that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from meta.errors import HiveError
from meta.git import stale_locks
from meta.git.stale_locks import Lock
from meta.layout import Layout
from meta.names import AgentName
from reconciler.upkeep.disk.guard import Append

log = logging.getLogger(__name__)

AFTER_START = 60.0
EVERY = 300.0
"""Seconds between two looks."""
MOST = 20
"""Paths in one event."""


class StaleLocks:
    """The stale locks of one daemon's repos. `names` returns all agents. `run` until cancelled."""

    def __init__(
        self, layout: Layout, names: Callable[[], Iterable[AgentName]], append: Append, proc: Path = Path("/proc")
    ) -> None:
        self._layout = layout
        self._names = names
        self._append = append
        self._proc = proc
        self._seen: Mapping[Path, tuple[Lock, AgentName | None]] = {}
        self._faults: dict[Path, str] = {}

    async def run(self) -> None:
        """Look at intervals, until cancelled."""
        await asyncio.sleep(AFTER_START)
        while True:
            await self.look(time.time())
            await asyncio.sleep(EVERY)

    def conditions(self, agent: AgentName | None) -> tuple[str, ...]:
        """Return what an operator should know about the locks in the agent's repos; None: in meta."""
        return tuple(self._describe(lock) for lock, owner in self._seen.values() if owner == agent)

    def _describe(self, lock: Lock) -> str:
        fault = self._faults.get(lock.path, "hive removes it once no process works there")
        return f"{lock.path} was left by a git that was killed, and what needs it fails: {fault}"

    async def look(self, now: float) -> None:
        """Look at all repos at `now`, in Unix seconds."""
        seen: dict[Path, tuple[Lock, AgentName | None]] = {}
        for agent, repo in self._repos():
            try:
                locks = await asyncio.to_thread(stale_locks.stale, repo, now)
            except OSError:
                continue  # there is no repo, or not one of hive's
            known = [lock for lock in locks if self._seen.get(lock.path, (None,))[0] == lock]
            removed = await asyncio.to_thread(self._remove, repo, known, now) if known else []
            left = [lock for lock in locks if lock.path not in removed]
            for lock in left:
                if lock.path not in self._seen:
                    log.warning("%s", self._describe(lock))
            seen |= {lock.path: (lock, agent) for lock in left}
            if removed:
                await self._report(agent, repo, removed)
        self._seen = seen
        self._faults = {path: fault for path, fault in self._faults.items() if path in seen}

    def _repos(self) -> Iterator[tuple[AgentName | None, Path]]:
        yield None, self._layout.meta_git
        for agent in sorted(self._names()):
            yield agent, self._layout.applied_git(agent)
            yield agent, self._layout.push_repo(agent)

    def _remove(self, repo: Path, locks: Iterable[Lock], now: float) -> list[Path]:
        """Remove the locks unless they are used. Return the paths of those that are removed."""
        removed = []
        for lock in locks:
            if stale_locks.is_foreign(lock, self._proc):
                self._faults[lock.path] = stale_locks.foreign_fault(lock)
                continue
            try:
                stale_locks.remove(repo, lock.path, now, self._proc)
            except OSError as error:
                self._faults[lock.path] = f"it cannot be removed ({error.strerror}); remove it as uid {lock.uid}"
            if not os.path.lexists(lock.path):
                removed.append(lock.path)
        return removed

    async def _report(self, agent: AgentName | None, repo: Path, removed: list[Path]) -> None:
        names = [str(path.relative_to(repo)) for path in removed[:MOST]]
        log.warning("removed %s in %s, left by a git that was killed", ", ".join(names), repo)
        data = {"repo": str(repo), "count": len(removed), "locks": names}
        try:
            await self._append("stale_lock_removed", agent, data)
        except HiveError as error:
            log.warning("the removal is not in the events: %s", error)
