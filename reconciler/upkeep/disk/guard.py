"""The guard of the disk: keeps the reserve, measures what agents hold, records stops that had no room.

Everything is by level. Each round looks at the free space. If the disk is full, that is reported until there is room
again, and the reserve is made again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
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
from reconciler.plan.full_disk import MEASURED
from reconciler.plan.observed import DiskUse
from reconciler.upkeep.disk.measure import Measured, measure

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

    `agents` returns the agents to measure, each with its own limit in MiB (None: that of the settings). `look_now`
    queues one. `stopped` returns True once an agent does not run.
    `record_stop` records that an agent shall be stopped, and raises DiskFull.
    """

    agents: Callable[[], Mapping[AgentName, int | None]]
    look_now: Callable[[AgentName], None]
    append: Append
    stopped: Callable[[AgentName], bool]
    record_stop: Callable[[AgentName, str], Awaitable[None]]


def most_bytes(config: Config, room: Room | None) -> int | None:
    """Return the most bytes of an agent's files; None if there is no limit."""
    limit = config.agent_disk_mib * 2**20
    if not limit:
        return None
    return min(limit, room.whole // 2) if room is not None and room.whole else limit


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
        self._owed: list[tuple[str, Mapping[str, object]]] = []
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
        return most_bytes(self._config, self._room)

    def describe_limit(self) -> str:
        """Return the limit of an agent's files, and how it is kept, in words."""
        limit = self.limit()
        return "no limit" if limit is None else f"{size(limit)} for each agent, {MEASURED}"

    def notes(self) -> tuple[str, ...]:
        """Return what an operator should know: that the disk is full, and who holds the most of it."""
        if not self.full or self._room is None:
            return ()
        text = f"the disk of {self._layout.state} is full ({self._room.describe()}): hive cannot record much"
        biggest = self._disk.memory.biggest()
        if biggest is None:
            return (f"{text}; free some space, and hive goes on by itself",)
        agent, use = biggest
        remedy = f"`hive stop {agent} --now`, then remove files of agents/{agent}/ there"
        return (f"{text}; {agent} holds the most ({size(use.bytes)}): {remedy}, and hive goes on by itself",)

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
        limits = self._actions.agents()
        measured = await measure(self._layout, limits)
        uses = {agent: self._use(each, limits[agent], full) for agent, each in measured.items()}
        changed = self._disk.memory.note(uses)
        for agent in sorted(changed):
            use = self._disk.memory.use(agent)
            if use is not None and use.over:
                log.warning("%s exceeds its disk limit: %s of %s", agent, size(use.bytes), self.describe_limit())
                await self._append("agent_over_disk", agent, {"bytes": use.bytes, "limit": use.limit})
            self._actions.look_now(agent)

    def _use(self, measured: Measured, own_limit: int | None, full: bool) -> DiskUse:
        limit = own_limit * 2**20 if own_limit is not None else self.limit()
        return DiskUse(measured.bytes, limit, measured.complete, suspect=full and not measured.complete)

    async def _record_stops(self) -> None:
        """Record the stops that had no room, once the agents are down and can write no more."""
        for agent, by in self._disk.memory.asked_stops():
            if not self._actions.stopped(agent):
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
        """Log and append that the disk is full, or has room again. An event that has no room is appended later."""
        full = self.full
        if full != self._reported:
            self._reported = full
            log.log(logging.ERROR if full else logging.INFO, "%s", "; ".join(self.notes()) or "the disk has room again")
            self._owed.append(("disk_full" if full else "disk_freed", self._facts()))
        while self._owed and await self._append(self._owed[0][0], None, self._owed[0][1]):
            del self._owed[0]

    def _facts(self) -> Mapping[str, object]:
        room, biggest = self._room, self._disk.memory.biggest()
        return {"free": room.free if room is not None else 0, "biggest": biggest[0] if biggest is not None else None}

    async def _append(self, kind: str, agent: AgentName | None, facts: Mapping[str, object]) -> bool:
        try:
            await self._actions.append(kind, agent, facts)
        except DiskFull as error:
            log.debug("the event %s has no room: %s", kind, error.summary)
            return False
        return True
