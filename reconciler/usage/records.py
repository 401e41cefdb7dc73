"""The turns of all agents: recorded as their harnesses report them, summed up by day and model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from meta.names import AgentName
from meta.network.report import Metered
from meta.wire.live import Usage
from reconciler.common.token_bucket import Bucket
from reconciler.plan.budget import Sums, day_of
from reconciler.store import token_days as token_rows
from reconciler.store import usage as rows
from reconciler.store.database import Database
from reconciler.store.usage import DaySum, Turn
from reconciler.telemetry.turns import TurnCounters
from reconciler.usage.claim import read_usage, turn_of

PER_MINUTE = 1200
AT_ONCE = 3000
"""Turns of one agent that are recorded in a minute, and at once after a while without any: a harness that reports what
a daemon missed has up to 2,000. One that reports more is slowed down, since each is a write."""


MANY = 100
"""Unknown lines on one day that are a condition of the agent."""


class TurnRecords:
    """The statistics of turns. `counted` is awaited with the agent after each turn that is new.

    `clock` gives Unix seconds. `rest` waits for some seconds.
    """

    def __init__(
        self,
        db: Database,
        counters: TurnCounters,
        counted: Callable[[AgentName], Awaitable[None]],
        clock: Callable[[], float] = time.time,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._db = db
        self._counters = counters
        self._counted = counted
        self._clock = clock
        self._rest = rest
        self._buckets: dict[AgentName, Bucket] = {}
        self._odd: dict[AgentName, tuple[int, int, int]] = {}
        """The day of the last turn that had unknown lines or unreadable rows, and how many that day had."""

    async def take(self, agent: AgentName, log: str, id: int, ts: float, value: Mapping[str, Any]) -> None:
        """Record the turn of a `usage` event as `record` does. Wait first if the agent reports them too fast."""
        now = time.monotonic()
        bucket = self._buckets.get(agent, Bucket(AT_ONCE, now))
        self._buckets[agent], wait = bucket.take(now, PER_MINUTE, most=AT_ONCE)
        if wait:
            await self._rest(wait)
        await self.record(agent, log, id, ts, read_usage(value))

    async def record(self, agent: AgentName, log: str, id: int, ts: float, usage: Usage) -> bool:
        """Record one turn that the agent's harness reports, and return once that is durable.

        `log` and `id` are those of the event. Return False if the turn is known already.
        """
        turn = turn_of(agent, log, id, ts, usage)
        if await self._db.write(partial(rows.insert, turn=turn, now=self._clock())) is None:
            return False
        tokens = {"input": turn.input_tokens, "output": turn.output_tokens, "cached": turn.cached_tokens}
        odd = (turn.unknown_lines, turn.unreadable_rows)
        self._counters.count(agent, turn.ending, turn.seconds, tokens, turn.cost, *odd)
        if any(odd):
            day = day_of(self._clock())
            self._odd[agent] = (day, *await self._db.read(partial(rows.oddities, agent=agent, day=day)))
        await self._counted(agent)
        return True

    def conditions(self, agent: AgentName) -> tuple[str, ...]:
        """Return what is odd about the agent's turns of today: its harness, or its CLI, may be too old or too new."""
        day, lines, unreadable = self._odd.get(agent, (0, 0, 0))
        if day != day_of(self._clock()):
            return ()
        return (
            *([f"its CLI printed {lines} lines today that hive does not know: `hive attach`"] if lines >= MANY else []),
            *([f"{unreadable} rows of its event log are no events, found today"] if unreadable else []),
        )

    async def totals(self, agent: AgentName | None, since: float) -> list[DaySum]:
        """Return the sums of each agent and model, of all days (UTC) from that of the Unix time `since` on."""
        return await self._db.read(partial(rows.totals, agent=agent, since=since))

    async def day(self, at: float) -> dict[str, Sums]:
        """Return the sums of the day (UTC) of a Unix time, of each agent that has any."""
        return await self._db.read(partial(rows.sums, day=day_of(at)))

    async def metered(self, since: float) -> dict[str, Metered]:
        """Return what hive-egress metered since the day (UTC) of a Unix time, of each agent that has any."""
        return await self._db.read(partial(token_rows.totals, since=day_of(since)))

    async def newest(self, agent: AgentName, limit: int) -> list[Turn]:
        """Return the newest turns of an agent, the newest first."""
        return await self._db.read(partial(rows.newest, agent=agent, limit=limit))

    async def forget(self, agent: AgentName) -> None:
        """Remove everything about an agent that is purged."""
        self._buckets.pop(agent, None)
        self._odd.pop(agent, None)
        await self._db.write(partial(rows.forget, agent=agent))
