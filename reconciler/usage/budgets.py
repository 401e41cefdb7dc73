"""Budgets: an agent that used up its own of the day (UTC) takes no turn until the next day, or until it has more.

hive counts from its own store, which no agent can write; what stands there is the agents' claim. Everything is by
level: after each turn, and every RELOOK seconds, the budget is compared with the sums of the day. So a daemon that was
away, a clock that jumps and a deploy that raises a budget need no rule of their own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from meta.agent_toml.settings import AgentSettings, Budget
from meta.errors import HiveError
from meta.names import AgentName
from reconciler.common.rounds import Rounds
from reconciler.observe.settings import CLOSED
from reconciler.plan.budget import Over, Sums, day_of, judge
from reconciler.store import usage as rows
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.usage import Overrun

log = logging.getLogger(__name__)

RELOOK = 10.0
"""Seconds between two looks at every agent, at most."""

Settings = Callable[[AgentName], Awaitable[AgentSettings | None]]
"""Returns the settings that an agent runs with. Raises TransientError if they cannot be read now."""


class BudgetHolds(Protocol):
    """Keeps an agent from turns (reconciler.observe.holds). Each call says the whole of it."""

    def set_over_budget(self, agent: AgentName, until: float | None, reason: str) -> None:
        """Hold the agent until the Unix time `until`, because its budget is used up."""

    def clear_over_budget(self, agent: AgentName) -> None:
        """End that hold."""


class Budgets:
    """The budgets of all agents. `names` returns the agents that exist. Call `load` first.

    `changed` is called after each change of `over`.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        names: Callable[[], Iterable[AgentName]],
        holds: BudgetHolds,
        rounds: Rounds | None = None,
        clock: Callable[[], float] = time.time,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._changed = changed
        self._settings = settings
        self._names = names
        self._holds = holds
        self._rounds = rounds or Rounds("budgets")
        self._clock = clock
        self._over: dict[AgentName, Overrun] = {}
        self._recorded: dict[AgentName, Overrun] = {}
        self._comparing = asyncio.Lock()  # sums that were read earlier must not be compared later

    @property
    def over(self) -> Mapping[AgentName, Overrun]:
        """The agents whose budget is used up."""
        return self._over

    async def load(self) -> None:
        """Read which budgets were used up when the daemon ended, and hold those agents again."""
        stored = await self._db.read(rows.overruns)
        self._recorded = {AgentName(agent): over for agent, over in stored.items()}
        for agent, over in self._recorded.items():
            self._over[agent] = over
            self._holds.set_over_budget(agent, over.until, over.reason)

    async def judge(self, agent: AgentName) -> None:
        """Compare one agent's budget with what it used: a turn was recorded, or the agent starts with new settings.

        If that fails, the next round does it.
        """
        try:
            async with self._comparing:
                now = self._clock()
                await self._compare(agent, await self._sums(now), now)
        except HiveError as error:
            log.warning("the budget of %s is not compared: %s", agent, error.summary, extra={"limited": "budgets"})

    async def round(self) -> None:
        """Compare the budget of every agent, and drop agents that do not exist any more."""
        async with self._comparing:
            now = self._clock()
            sums = await self._sums(now)
            names = set(self._names())
            failed: HiveError | None = None
            for agent in names:
                try:
                    await self._compare(agent, sums, now)
                except HiveError as error:  # the others are compared
                    failed = error
            for agent in {*self._over, *self._recorded} - names:
                await self._set(agent, None, now)
            if failed is not None:
                raise failed

    async def run(self) -> None:
        """Look every RELOOK seconds, and at the time when a day ends, until cancelled."""
        while True:
            try:
                await self.round()
            except HiveError as error:
                self._rounds.fail(error)
                log.warning("budgets cannot be compared: %s", error.summary, extra={"limited": "budgets"})
            else:
                self._rounds.succeed()
            await asyncio.sleep(self._pause(self._clock()))

    def _pause(self, now: float) -> float:
        """Return the seconds until the next look. A day that has ended is not looked for again."""
        ends = min((over.until for over in self._over.values() if over.until > now), default=float("inf"))
        return min(RELOOK, max(0.1, ends - now))

    async def _sums(self, now: float) -> dict[str, Sums]:
        return await self._db.read(partial(rows.sums, day=day_of(now)))

    async def _compare(self, agent: AgentName, sums: Mapping[str, Sums], now: float) -> None:
        try:
            settings = await self._settings(agent)
        except HiveError as error:
            log.warning("the budget of %s cannot be read: %s", agent, error.summary, extra={"limited": "budgets"})
            settings = CLOSED
        if settings is CLOSED:  # a damaged agent.toml neither holds nor frees, but a day ends all the same
            before = self._over.get(agent)
            if before is not None and before.until <= now:
                await self._set(agent, None, now)
            return
        budget = settings.budget if settings is not None else Budget()
        await self._set(agent, judge(budget, sums.get(agent, Sums()), now), now)

    async def _set(self, agent: AgentName, over: Over | None, now: float) -> None:
        """Hold or free the agent, then record that. If it cannot be recorded, the next round tries again."""
        before = self._over.get(agent)
        if over is not None:
            self._over[agent] = after = Overrun(before.since if before else now, over.until, over.reason)
            if after != before:
                self._holds.set_over_budget(agent, over.until, over.reason)
                self._changed()
        elif before is not None:
            del self._over[agent]
            self._holds.clear_over_budget(agent)
            self._changed()
        if self._over.get(agent) == self._recorded.get(agent):
            return
        await self._db.write(partial(_mark, agent=agent, over=over, at=now))
        if over is None:
            self._recorded.pop(agent, None)
        else:
            self._recorded[agent] = self._over[agent]


def _mark(connection: Transaction, agent: AgentName, over: Over | None, at: float) -> None:
    if over is None:
        rows.mark_within(connection, agent, at)
    else:
        rows.mark_over(connection, agent, over, at)
