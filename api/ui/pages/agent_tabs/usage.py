"""What the turns of an agent took: by day as charts and as a table, by model, and each of the newest ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from api.operations.lifecycle import Named
from api.operations.usage import MAX_TURNS, UsageInput, usage
from api.ui.moment import Moment
from api.ui.page import Region, Shown
from api.ui.pages.agent.head import read_head
from api.ui.pages.agent_tabs.tab import tab
from reconciler.views import TurnUsage

DAY = 86_400
DAYS = 30
TURNS = 25
"""Turns of the table."""


@dataclass(frozen=True, slots=True)
class DayUse:
    """What the turns that ended on one day (UTC) took. `at` is its beginning in Unix seconds, `words` its date."""

    at: int
    words: str
    turns: int
    tokens: int
    cost: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Plot:
    """One chart: its `id`, title, the words for those who do not see it, and its values as JSON for the script."""

    id: str
    title: str
    unit: str
    words: str
    values: tuple[float, ...]
    data: str


def days_of(turns: Iterable[TurnUsage], now: float, days: int = DAYS) -> tuple[DayUse, ...]:
    """Return the last `days` days, also those without a turn, oldest first."""
    today = int(now // DAY)
    kept: dict[int, list[TurnUsage]] = {day: [] for day in range(today - days + 1, today + 1)}
    for turn in turns:
        if (day := int(turn.at // DAY)) in kept:
            kept[day].append(turn)
    return tuple(_day(day * DAY, found) for day, found in kept.items())


def _day(at: int, turns: Sequence[TurnUsage]) -> DayUse:
    date = datetime.fromtimestamp(at, UTC)
    return DayUse(
        at=at,
        words=f"{date.day} {date:%b %Y}",
        turns=len(turns),
        tokens=sum((turn.input_tokens or 0) + (turn.output_tokens or 0) for turn in turns),
        cost=sum(turn.cost or 0.0 for turn in turns),
        seconds=sum(turn.seconds for turn in turns),
    )


def plots_of(days: Sequence[DayUse]) -> tuple[Plot, ...]:
    """Return the charts of tokens, cost and turn time over days."""
    return (
        _plot("tokens", "Tokens", "tokens", days, [float(day.tokens) for day in days]),
        _plot("cost", "Cost", "dollars", days, [round(day.cost, 4) for day in days]),
        _plot("time", "Turn time", "seconds", days, [round(day.seconds, 1) for day in days]),
    )


def _plot(id: str, title: str, unit: str, days: Sequence[DayUse], values: list[float]) -> Plot:
    data = json.dumps({"title": title, "unit": unit, "at": [day.at for day in days], "values": values})
    words = f"{title} of each of the last {len(days)} days; the table has the same"
    return Plot(id, title, unit, words, tuple(values), data)


async def view(moment: Moment, asked: Named) -> Shown:
    """Return what the turns of one agent took."""
    head = await read_head(moment, asked.agent, "usage")
    since = (moment.at // DAY - DAYS + 1) * DAY
    report = await moment.ask(usage, UsageInput(agent=asked.agent, since=since, turns=MAX_TURNS))
    days = days_of(report.turns, moment.at)
    oldest = min((turn.at for turn in report.turns), default=since)
    values = {
        "head": head,
        "used": report.agents[0] if report.agents else None,
        "plots": plots_of(days) if report.turns else (),
        "days": [day for day in reversed(days) if day.turns],
        "cut": oldest if len(report.turns) >= MAX_TURNS and oldest > since else None,
        "turns": report.turns[:TURNS],
        "turns_read": len(report.turns),
        "period": DAYS,
    }
    return Shown(values, f"Usage of {asked.agent}")


USAGE = tab("usage", "Usage", Named, view, Region("usage", "agent_tabs/usage_tables.html"))
