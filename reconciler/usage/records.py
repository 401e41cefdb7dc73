"""The turns of all agents: recorded as their harnesses report them, summed up by day and model."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

from meta.names import AgentName
from meta.wire.live import Usage
from reconciler.plan.budget import Sums, day_of
from reconciler.store import usage as rows
from reconciler.store.database import Database
from reconciler.store.usage import DaySum, Turn
from reconciler.telemetry.turns import TurnCounters
from reconciler.usage.claim import turn_of


class TurnRecords:
    """The statistics of turns. `counted` is awaited with the agent after each turn that is new."""

    def __init__(
        self,
        db: Database,
        counters: TurnCounters,
        counted: Callable[[AgentName], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._counters = counters
        self._counted = counted
        self._clock = clock

    async def record(self, agent: AgentName, log: str, id: int, ts: float, usage: Usage) -> bool:
        """Record one turn that the agent's harness reports, and return once that is durable.

        `log` and `id` are those of the event. Return False if the turn is known already.
        """
        turn = turn_of(agent, log, id, ts, usage)
        if await self._db.write(partial(rows.insert, turn=turn, now=self._clock())) is None:
            return False
        tokens = {"input": turn.input_tokens, "output": turn.output_tokens, "cached": turn.cached_tokens}
        self._counters.count(agent, turn.ending, turn.seconds, tokens, turn.cost)
        await self._counted(agent)
        return True

    async def totals(self, agent: AgentName | None, since: float) -> list[DaySum]:
        """Return the sums of each agent and model, of all days (UTC) from that of the Unix time `since` on."""
        return await self._db.read(partial(rows.totals, agent=agent, since=since))

    async def day(self, at: float) -> dict[str, Sums]:
        """Return the sums of the day (UTC) of a Unix time, of each agent that has any."""
        return await self._db.read(partial(rows.sums, day=day_of(at)))

    async def newest(self, agent: AgentName, limit: int) -> list[Turn]:
        """Return the newest turns of an agent, the newest first."""
        return await self._db.read(partial(rows.newest, agent=agent, limit=limit))

    async def forget(self, agent: AgentName) -> None:
        """Remove everything about an agent that is purged."""
        await self._db.write(partial(rows.forget, agent=agent))
