"""The rows of metered tokens, as functions of a connection. Each is (part of) one transaction."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from meta.network.report import Metered
from reconciler.store.texts import text

MOST = 9_000_000_000_000_000
"""The largest sum that is kept."""


@dataclass(frozen=True, slots=True)
class DayReport:
    """The sums of one agent and day as hive-egress reports them. `day` is counted from 1970-01-01 (UTC)."""

    agent: str
    day: int
    sums: Metered


def take(connection: sqlite3.Connection, report: DayReport) -> Metered:
    """Add to an agent's day what is new since the report before. Return that.

    The sums of hive-egress only grow, unless its state was lost: then all that it reports is new.
    """
    query = "SELECT CAST(seen AS BLOB) FROM metered_days WHERE agent = ? AND day = ?"
    row = connection.execute(query, (report.agent, report.day)).fetchone()
    seen = _metered(text(row[0], "what was metered")) if row is not None else Metered()
    now = tuple(min(max(number, 0), MOST) for number in _numbers(report.sums))
    before = _numbers(seen)
    grown = all(new >= old for new, old in zip(now, before, strict=True))
    added = tuple(new - old for new, old in zip(now, before, strict=True)) if grown else now
    if any(added) or not grown:
        connection.execute(
            "INSERT INTO metered_days (agent, day, requests, input_tokens, output_tokens, cached_tokens, seen) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (agent, day) DO UPDATE SET "
            "requests = min(requests + ?3, ?8), input_tokens = min(input_tokens + ?4, ?8), "
            "output_tokens = min(output_tokens + ?5, ?8), cached_tokens = min(cached_tokens + ?6, ?8), seen = ?7",
            (report.agent, report.day, *added, json.dumps(now), MOST),
        )
    return Metered(*added)


def totals(connection: sqlite3.Connection, since: int) -> dict[str, Metered]:
    """Return the sums of each agent from a day on."""
    rows = connection.execute(
        "SELECT CAST(agent AS BLOB), sum(requests), sum(input_tokens), sum(output_tokens), sum(cached_tokens) "
        "FROM metered_days WHERE day >= ? GROUP BY agent",
        (since,),
    )
    return {text(row[0], "the agent of a sum"): Metered(*row[1:]) for row in rows}


def _numbers(metered: Metered) -> tuple[int, int, int, int]:
    return metered.requests, metered.input, metered.output, metered.cached


def _metered(value: str) -> Metered:
    try:
        numbers = json.loads(value)
        return Metered(*(int(number) for number in numbers))
    except (ValueError, TypeError):
        return Metered()
