"""What the turns of agents took, by agent and model, beside their budgets.

All figures are the agents' claim, but for what hive-egress metered.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass

from meta.agent_toml.no_effect import describe_no_effect
from meta.agent_toml.settings import AgentSettings, flatten
from meta.errors import TransientError
from meta.names import AgentName
from meta.network.report import Metered
from reconciler.observe.settings import DeployedSettings
from reconciler.plan.budget import DAY, Sums, day_of
from reconciler.store.usage import DaySum, Turn
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords
from reconciler.views import AgentUsage, BudgetUse, ModelUsage, TurnUsage, UsageReport


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """The usage query."""

    turns: TurnRecords
    budgets: Budgets
    settings: DeployedSettings
    clock: Callable[[], float] = time.time

    async def __call__(self, agent: AgentName | None, since: float | None, newest: int) -> UsageReport:
        """Return what the turns took since the day (UTC) of a Unix time (None: today), of one agent or of all.

        `newest`: how many of the newest turns to add, if one agent is asked for.
        """
        now = self.clock()
        begin = float(day_of(now if since is None else since) * DAY)
        models: defaultdict[str, list[ModelUsage]] = defaultdict(list)
        for row in await self.turns.totals(agent, begin):
            models[row.agent].append(_model(row))
        today, metered = await self.turns.day(now), await self.turns.metered(begin)
        asked = {name for name in (*metered, *self.budgets.over) if agent in (None, name)}
        names = sorted({*models, *asked, *([agent] if agent else [])})
        agents = [
            await self._agent(AgentName(name), models[name], today.get(name, Sums()), metered.get(name))
            for name in names
        ]
        turns = await self.turns.newest(agent, newest) if agent is not None and newest else []
        return UsageReport(begin, agents, [_turn(turn) for turn in turns])

    async def _agent(
        self, agent: AgentName, models: list[ModelUsage], today: Sums, metered: Metered | None
    ) -> AgentUsage:
        over, settings = self.budgets.over.get(agent), await self._settings(agent)
        budget = settings.budget if settings is not None else None
        return AgentUsage(
            agent=agent,
            models=models,
            budget=BudgetUse() if budget is None else BudgetUse(budget.turns, budget.tokens, budget.dollars),
            today=BudgetUse(today.turns, today.spent, today.dollars),
            over=over.reason if over is not None else None,
            until=over.until if over is not None else None,
            notes=_notes(settings),
            metered_tokens=None if metered is None else metered.input + metered.output,
        )

    async def _settings(self, agent: AgentName) -> AgentSettings | None:
        try:
            return await self.settings.of(agent)
        except TransientError:
            return None


def _notes(settings: AgentSettings | None) -> tuple[str, ...]:
    """Return which part of the budget the runtime cannot be held to."""
    if settings is None:
        return ()
    budget = {key: value for key, value in flatten(settings).items() if key.startswith("budget.")}
    return tuple(describe_no_effect({**budget, "runtime": settings.runtime}))


def _model(row: DaySum) -> ModelUsage:
    fields = asdict(row)
    del fields["agent"]
    return ModelUsage(**fields)


def _turn(turn: Turn) -> TurnUsage:
    return TurnUsage(
        at=turn.at,
        runtime=turn.runtime,
        model=turn.model,
        source=turn.source,
        seconds=turn.seconds,
        ending=turn.ending,
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        cached_tokens=turn.cached_tokens,
        cost=turn.cost,
        tools=dict(turn.tools),
        unknown_lines=turn.unknown_lines,
        unreadable_rows=turn.unreadable_rows,
    )
