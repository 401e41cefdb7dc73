"""The figures beside an agent's transcript: what its turns took, and what it waits for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from api.ui.numbers import count, dollars
from api.ui.times import span
from meta.names import AgentName
from meta.text import one_line
from meta.wire.common import ApprovalEnd, LooseEnd, QuestionEnd, ReminderEnd
from reconciler.views import TurnUsage

HOUR, DAY = 3_600, 86_400
HOURS = 24
LAST = 10
ENDS_MOST = 8
TURNS_READ = 500
"""Turns that are read for the charts. A day with more is cut at its beginning."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One series. `words` say the same. With a `limit` it is a line, and `limit` the height of that of the budget."""

    title: str
    figure: str
    words: str
    values: tuple[float, ...]
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class End:
    """One thing that is open: `at` is when a reminder is due."""

    what: str
    text: str
    href: str = ""
    at: int | None = None


def charts(turns: Sequence[TurnUsage], now: float, limit: float | None) -> tuple[Chart, ...]:
    """Return the charts: tokens an hour and cost of the last 24 hours, and the time of the newest turns."""
    if not turns:
        return ()
    hour = int(now // HOUR)
    tokens, cost = [0.0] * HOURS, [0.0] * HOURS
    for turn in turns:
        back = hour - int(turn.at // HOUR)
        if 0 <= back < HOURS:
            tokens[-1 - back] += (turn.input_tokens or 0) + (turn.output_tokens or 0)
            cost[-1 - back] += turn.cost or 0.0
    sums = [sum(cost[: end + 1]) for end in range(HOURS)]
    seconds = [turn.seconds for turn in sorted(turns, key=lambda turn: turn.at)][-LAST:]
    highest = max(tokens)
    return (
        Chart(
            "Tokens an hour",
            count(sum(tokens)),
            f"Tokens an hour over 24 hours, {count(sum(tokens))} together, at most {count(highest)} in one",
            tuple(tokens),
        ),
        Chart(
            f"Cost, limit {dollars(limit).removesuffix('.00')} a day" if limit else "Cost",
            dollars(sums[-1]),
            f"Cost over 24 hours, {dollars(sums[-1])}{f', the limit of a day is {dollars(limit)}' if limit else ''}",
            tuple(sums),
            limit or 0.0,
        ),
        Chart(
            f"Turn time, last {len(seconds)}",
            f"median {span(median(seconds))}",
            f"Time of the last {len(seconds)} turns, longest {span(max(seconds))}",
            tuple(seconds),
        ),
    )


def ends_of(agent: AgentName, ends: Sequence[LooseEnd]) -> tuple[End, ...]:
    """Return what is open of an agent, or waits for it."""
    found = [end for each in ends if (end := _end(agent, each)) is not None]
    return tuple(found[:ENDS_MOST])


def _end(agent: AgentName, end: LooseEnd) -> End | None:
    match end:
        case ApprovalEnd() if end.agent == agent:
            return End("Proposal", f"{end.id} waits for you", "/")
        case QuestionEnd() if end.asker == agent:
            of = end.target or "you"
            return End("Waits for", f"question {end.id}, asked of {of}", "" if end.target else "/questions")
        case QuestionEnd() if end.target == agent:
            return End("Asked by", f"{end.asker}: {one_line(end.question, 80)}")
        case ReminderEnd() if end.owner == agent:
            return End("Reminder", one_line(end.message, 80), at=end.due_at)
    return None
