"""The guard of the disk: keeps the reserve, measures what agents hold, records stops that had no room.

Everything is by level. Each round looks at the free space. If the disk is full, that is reported until there is room
again, and the reserve is made again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from meta.config import Config
from meta.errors import DiskFull, HiveError
from meta.layout import Layout
from meta.names import AgentName
from meta.text import size
from reconciler.common.reserve import Reserve, Room
from reconciler.common.rounds import Rounds
from reconciler.observe.disk import DiskMemory
from reconciler.plan.full_disk import MEASURED, compare
from reconciler.plan.observed import DiskUse
from reconciler.upkeep.disk.largest import NAMED, explain, largest
from reconciler.upkeep.disk.limits import limits_of, use_of
from reconciler.upkeep.disk.measure import Count, measure_through

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at the free space."""
MEASURE = 30.0
"""Seconds between two measurements of all agents."""
MEASURE_SOON = 2.0
"""The same while the disk is full, or an agent waits until its files are below the limit."""
SPARE = 4
"""A measurement that takes long is followed by a pause of this many times its time."""
FIRST_SECONDS = 5.0
"""Seconds that the first measurement may delay the start of the daemon."""
OWED = 100
"""Events that wait for room at most."""

Append = Callable[[str, AgentName | None, Mapping[str, object]], Awaitable[object]]
"""Appends an event: kind, agent, facts."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The reserve, and what is known about the disk. Commands, the loop and the guard share one."""

    reserve: Reserve
    memory: DiskMemory


@dataclass(frozen=True, slots=True)
class Actions:
    """The functions of the daemon that the guard calls.

    `agents` returns the agents to measure, each with its own limit in MiB (None: that of the settings). `pid` returns
    the main process of an agent that runs. `look_now` queues one.
    `count` counts the files of an agent that the daemon may not read, and returns None for others.
    `record_stop` records that an agent shall be stopped, and raises DiskFull.
    """

    agents: Callable[[], Mapping[AgentName, int | None]]
    look_now: Callable[[AgentName], None]
    append: Append
    pid: Callable[[AgentName], int | None]
    record_stop: Callable[[AgentName, str], Awaitable[None]]
    count: Count


class DiskGuard:
    """The endless task, and what it last saw. `room` is None until it looked."""

    def __init__(
        self, layout: Layout, config: Config, disk: Disk, actions: Actions, rounds: Rounds | None = None
    ) -> None:
        self._layout = layout
        self._config = config
        self._disk = disk
        self._actions = actions
        self._rounds = rounds or Rounds("disk")
        self._measure_at = float("-inf")
        self._room: Room | None = None
        self._reported = False
        self._owed: deque[tuple[str, AgentName | None, Mapping[str, object]]] = deque(maxlen=OWED)
        self._making = asyncio.Lock()

    # the task
    async def first(self) -> None:
        """Look and measure once, before any agent is started. A measurement that takes long is left to `run`."""
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self.round()
        except (HiveError, OSError, TimeoutError) as error:
            log.warning("the agents' files are not measured yet: %s", error or "that takes long")

    async def run(self) -> None:
        """Look every TICK seconds, until cancelled."""
        while True:
            try:
                await self.round()
            except (HiveError, OSError) as error:
                self._rounds.fail(error)
                log.warning("the disk cannot be looked at: %s", error)
            else:
                self._rounds.succeed()
            await asyncio.sleep(TICK)

    async def round(self) -> None:
        """Look at the free space, measure if that is due, and do what follows."""
        full, self._room = self.full, await asyncio.to_thread(self._disk.reserve.room)
        if self.full and not full:
            self._measure_at = float("-inf")
        began = time.monotonic()
        if began >= self._measure_at:
            await self._measure()
            now = time.monotonic()
            often = MEASURE_SOON if self.full or self._disk.memory.any_over() else MEASURE
            self._measure_at = now + max(often, SPARE * (now - began))
        await self._record_stops()
        await self._restore()
        await self._report()

    # what it knows
    @property
    def full(self) -> bool:
        """True while the disk is full, and until the whole reserve is made again."""
        room, reserve = self._room, self._disk.reserve
        if room is None:
            return False
        return reserve.is_full(room) or (reserve.held() < reserve.wanted(room) and not reserve.has_room(room))

    def limit(self) -> int | None:
        """Return the most bytes of an agent's files; None if there is no limit."""
        return limits_of(self._config, self._room, None).bytes

    def describe_limit(self) -> str:
        """Return the limit of an agent's files, that of agents with their own, and how it is kept, in words."""
        limit = self.limit()
        own = [(agent, mib) for agent, mib in sorted(self._actions.agents().items()) if mib is not None]
        some = [f"{agent} {size(mib * 2**20)}" for agent, mib in own[:NAMED]]
        text = "no limit" if limit is None else f"{size(limit)} for each agent, {MEASURED}"
        more = f" and {len(own) - NAMED} more" if len(own) > NAMED else ""
        return f"{text}; with their own limit: {', '.join(some)}{more}" if own else text

    def notes(self) -> tuple[str, ...]:
        """Return what an operator should know: that the disk is full, and who holds the most of it."""
        if not self.full or self._room is None:
            return ()
        text = f"the disk of {self._layout.state} is full ({self._room.describe()}): hive cannot record much"
        return (f"{text}; {explain(self._disk.memory.uses(), self._room)}, and hive goes on by itself",)

    def conditions(self, agent: AgentName) -> tuple[str, ...]:
        """Return what an operator should know about the files of an agent that may run."""
        use = self._disk.memory.use(agent)
        if use is None or use.complete or use.over:
            return ()
        return (f"its files cannot all be counted, {size(use.bytes)} were: if the disk is full, it is stopped",)

    # the reserve
    async def borrow(self) -> bool:
        """Give the reserve back for one command of the operator. Return True if that freed anything."""
        return await asyncio.to_thread(partial(self._disk.reserve.give_back, all=False)) > 0

    async def take_back(self) -> None:
        """Make the reserve again after a command, as large as there is room for."""
        async with self._making:
            await asyncio.to_thread(self._disk.reserve.make)

    async def _restore(self) -> None:
        reserve, room = self._disk.reserve, self._room
        if room is not None and reserve.held() < reserve.wanted(room) and reserve.has_room(room):
            await self.take_back()

    # its rounds
    async def _measure(self) -> None:
        full = self.full
        own = self._actions.agents()
        pids = {agent: pid for agent in own if (pid := self._actions.pid(agent)) is not None}
        measured = await measure_through(self._actions.count, self._layout, own, pids)
        uses = {
            agent: use_of(each, limits_of(self._config, self._room, own[agent]), full=full)
            for agent, each in measured.items()
        }
        changed = self._disk.memory.note(uses)
        for agent in sorted(changed):
            use = self._disk.memory.use(agent)
            if use is not None and use.over:
                log.warning("%s may not run: %s", agent, compare(use))
                self._owed.append(("agent_over_disk", agent, _over(use)))
            self._actions.look_now(agent)

    async def _record_stops(self) -> None:
        """Record the stops that had no room, once the agents are down and can write no more."""
        for agent, by in self._disk.memory.asked_stops():
            if self._actions.pid(agent) is not None:
                continue
            try:
                await self._actions.record_stop(agent, by)
            except DiskFull:
                await asyncio.to_thread(partial(self._disk.reserve.give_back, all=True))
                try:
                    await self._actions.record_stop(agent, by)
                except DiskFull as error:
                    log.warning("the stop of %s is not recorded yet: %s", agent, error.summary)
                    continue
            self._disk.memory.withdraw_stop(agent)

    async def _report(self) -> None:
        """Log that the disk is full, or has room again, and append the events that wait."""
        full = self.full
        if full != self._reported:
            self._reported = full
            log.log(logging.ERROR if full else logging.INFO, "%s", "; ".join(self.notes()) or "the disk has room again")
            self._owed.append(("disk_full" if full else "disk_freed", None, self._facts()))
        while self._owed and await self._append(*self._owed[0]):
            self._owed.popleft()

    def _facts(self) -> Mapping[str, object]:
        room = self._room
        biggest = largest(self._disk.memory.uses(), room) if room is not None else None
        return {"free": room.free if room is not None else 0, "biggest": biggest}

    async def _append(self, kind: str, agent: AgentName | None, facts: Mapping[str, object]) -> bool:
        try:
            await self._actions.append(kind, agent, facts)
        except DiskFull as error:
            log.debug("the event %s has no room: %s", kind, error.summary)
            return False
        return True


def _over(use: DiskUse) -> Mapping[str, object]:
    """Return the facts of an agent that may not run."""
    facts = {"bytes": use.bytes, "limit": use.limit, "inodes": use.inodes, "inode_limit": use.inode_limit}
    return {**facts, "complete": use.complete}
