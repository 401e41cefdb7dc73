"""The rows of turns' statistics, as functions of a connection. Each is (part of) one transaction.

The rows of an agent are bounded: about ROWS_MOST turns, KEEP_DAYS old at most. The sums of each day outlive them.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.plan.budget import DAY, Over, Sums, day_of
from reconciler.store.events import log
from reconciler.store.texts import text

logger = logging.getLogger(__name__)

ROWS_MOST = 20_000
"""Turns of one agent that are kept, at most, but for those that came since the last removal."""
KEEP_DAYS = 90
"""Days for which a turn is kept."""
SUMS_DAYS = 1_100
"""Days for which the sums of a day are kept."""
MODELS_MOST = 16
"""Models of one agent that are summed up apart, on one day. Others are summed up as OTHER."""
OTHER = "other"
_PRUNE_EVERY = 1_000
"""Turns of all agents after which old ones are removed."""
_TEXTS = ("log", "runtime", "model", "source", "ending", "tools")


@dataclass(frozen=True, slots=True)
class Turn:
    """The statistics of one turn. `log` and `id` are those of its event in the agent's own log; None: not reported.

    `counts` is False for a turn that a budget does not count: one that was put back because of an outage, a limit or a
    missing login.
    """

    agent: str
    log: str
    id: int
    at: float
    runtime: str
    model: str
    source: str
    seconds: float
    ending: str
    counts: bool = True
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    tools: Mapping[str, int] = field(default_factory=dict)
    unknown_lines: int = 0
    unreadable_rows: int = 0


@dataclass(frozen=True, slots=True)
class DaySum:
    """The sums of the turns of one agent with one model, on one day or several. `waited`: turns that do not count."""

    agent: str
    model: str
    turns: int
    waited: int
    seconds: float
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: float
    unknown_lines: int = 0
    unreadable_rows: int = 0


def insert(connection: sqlite3.Connection, turn: Turn, now: float) -> float | None:
    """Add a turn, and add it to the sums of its day. Return the time it counts for; None if it is known or too old.

    An agent's clock is its own, so its time is bounded: not after `now`, and not before the turn that was added before.
    """
    newest = connection.execute("SELECT max(at) FROM turns WHERE agent = ?", (turn.agent,)).fetchone()[0]
    at = min(now, max(turn.at, newest if newest is not None else turn.at))
    if at < now - KEEP_DAYS * DAY:
        return None
    numbers = (turn.seconds, turn.ending, turn.input_tokens, turn.output_tokens, turn.cached_tokens, turn.cost)
    added = connection.execute(
        "INSERT OR IGNORE INTO turns (agent, log, id, at, runtime, model, source, seconds, ending, input_tokens, "
        "output_tokens, cached_tokens, cost, tools, unknown_lines, unreadable_rows) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(turn.agent, turn.log, turn.id, at, turn.runtime, turn.model, turn.source),
            *numbers,
            *(json.dumps(dict(turn.tools)), turn.unknown_lines, turn.unreadable_rows),
        ),
    )
    if added.rowcount != 1:
        return None
    _add_up(connection, turn, day_of(at))
    if added.lastrowid and added.lastrowid % _PRUNE_EVERY == 0:
        prune(connection, now)
    return at


def _add_up(connection: sqlite3.Connection, turn: Turn, day: int) -> None:
    known = connection.execute(
        "SELECT count(*), coalesce(sum(model = ?), 0) FROM turn_days WHERE agent = ? AND day = ?",
        (turn.model, turn.agent, day),
    ).fetchone()
    model = turn.model if known[1] or known[0] < MODELS_MOST else OTHER
    connection.execute(
        "INSERT INTO turn_days (agent, day, model, turns, waited, seconds, input_tokens, output_tokens, cached_tokens, "
        "cost, unknown_lines, unreadable_rows) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) "
        "ON CONFLICT (agent, day, model) DO UPDATE SET "
        "turns = turns + ?4, waited = waited + ?5, seconds = seconds + ?6, "
        "input_tokens = min(input_tokens + ?7, 9000000000000000), "
        "output_tokens = min(output_tokens + ?8, 9000000000000000), "
        "cached_tokens = min(cached_tokens + ?9, 9000000000000000), cost = cost + ?10, "
        "unknown_lines = unknown_lines + ?11, unreadable_rows = unreadable_rows + ?12",
        (
            *(turn.agent, day, model, int(turn.counts), int(not turn.counts), turn.seconds),
            *(turn.input_tokens or 0, turn.output_tokens or 0, turn.cached_tokens or 0, turn.cost or 0.0),
            *(turn.unknown_lines, turn.unreadable_rows),
        ),
    )


def oddities(connection: sqlite3.Connection, agent: str, day: int) -> tuple[int, int]:
    """Return how many unknown lines and unreadable rows an agent had on a day."""
    query = (
        "SELECT coalesce(sum(unknown_lines), 0), coalesce(sum(unreadable_rows), 0) FROM turn_days "
        "WHERE agent = ? AND day = ?"
    )
    lines, rows = connection.execute(query, (agent, day)).fetchone()
    return lines, rows


def prune(connection: sqlite3.Connection, now: float) -> None:
    """Remove what is older than it is kept, and the oldest turns of each agent that has more than ROWS_MOST."""
    connection.execute("DELETE FROM turns WHERE at < ?", (now - KEEP_DAYS * DAY,))
    for table in ("turn_days", "metered_days"):
        connection.execute(f"DELETE FROM {table} WHERE day < ?", (day_of(now) - SUMS_DAYS,))  # noqa: S608 - constants
    query = "SELECT agent FROM turns GROUP BY agent HAVING count(*) > ?"
    for (agent,) in connection.execute(query, (ROWS_MOST,)).fetchall():
        connection.execute(
            "DELETE FROM turns WHERE rowid IN "
            "(SELECT rowid FROM turns WHERE agent = ? ORDER BY at DESC, id DESC LIMIT -1 OFFSET ?)",
            (agent, ROWS_MOST),
        )


def sums(connection: sqlite3.Connection, day: int) -> dict[str, Sums]:
    """Return the sums of a day, of each agent that has any."""
    rows = connection.execute(
        "SELECT CAST(agent AS BLOB), sum(turns), sum(tokens), sum(cost), sum(metered) FROM ("
        "SELECT agent, turns, input_tokens + output_tokens AS tokens, cost, 0 AS metered FROM turn_days WHERE day = ?1 "
        "UNION ALL SELECT agent, 0, 0, 0.0, input_tokens + output_tokens FROM metered_days WHERE day = ?1"
        ") GROUP BY agent",
        (day,),
    )
    return {text(row[0], "the agent of a sum"): Sums(*row[1:]) for row in rows}


def totals(connection: sqlite3.Connection, agent: str | None, since: float) -> list[DaySum]:
    """Return the sums of each agent (None: of all) and model, of the days from that of `since` on."""
    rows = connection.execute(
        "SELECT CAST(agent AS BLOB), CAST(model AS BLOB), sum(turns), sum(waited), sum(seconds), sum(input_tokens), "
        "sum(output_tokens), sum(cached_tokens), sum(cost), sum(unknown_lines), sum(unreadable_rows) "
        "FROM turn_days WHERE (?1 IS NULL OR agent = ?1) "
        "AND day >= ?2 GROUP BY agent, model ORDER BY agent, model",
        (agent, day_of(since)),
    )
    return [DaySum(text(row[0], "the agent of a sum"), text(row[1], "the model of a sum"), *row[2:]) for row in rows]


def newest(connection: sqlite3.Connection, agent: str, limit: int) -> list[Turn]:
    """Return the newest turns of an agent, the newest first."""
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in _TEXTS)
    rows = connection.execute(
        f"SELECT id, at, seconds, input_tokens, output_tokens, cached_tokens, cost, unknown_lines, "  # noqa: S608
        f"unreadable_rows, {columns} FROM turns WHERE agent = ? ORDER BY at DESC, id DESC LIMIT ?",
        (agent, limit),
    )
    return [_turn(agent, row) for row in rows]


def _turn(agent: str, row: tuple[Any, ...]) -> Turn:
    id, at, seconds, read, written, cached, cost, unknown, unreadable = row[:9]
    texts = [text(value, f"{name} of a turn") for name, value in zip(_TEXTS, row[9:], strict=True)]
    log_name, runtime, model, source, ending, tools = texts
    return Turn(
        agent=agent,
        log=log_name,
        id=id,
        at=at,
        runtime=runtime,
        model=model,
        source=source,
        seconds=seconds,
        ending=ending,
        input_tokens=read,
        output_tokens=written,
        cached_tokens=cached,
        cost=cost,
        tools=_tools(tools),
        unknown_lines=unknown,
        unreadable_rows=unreadable,
    )


def _tools(value: str) -> dict[str, int]:
    try:
        parsed = json.loads(value)
    except ValueError:
        logger.error("the tools of a turn are not JSON")
        return {}
    return {str(name): count for name, count in parsed.items() if isinstance(count, int)} if parsed else {}


def forget(connection: sqlite3.Connection, agent: str) -> None:
    """Remove everything about an agent."""
    for table in ("turns", "turn_days", "metered_days", "over_budget"):
        connection.execute(f"DELETE FROM {table} WHERE agent = ?", (agent,))  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Overrun:
    """An agent whose budget is used up, since when, until when, and why."""

    since: float
    until: float
    reason: str


def overruns(connection: sqlite3.Connection) -> dict[str, Overrun]:
    """Return every agent whose budget is recorded as used up."""
    rows = connection.execute("SELECT CAST(agent AS BLOB), since, until, CAST(reason AS BLOB) FROM over_budget")
    return {text(row[0], "an agent"): Overrun(row[1], row[2], text(row[3], "a reason")) for row in rows}


def mark_over(connection: sqlite3.Connection, agent: str, over: Over, at: float) -> None:
    """Record that an agent's budget is used up, and append the event if that is new."""
    known = connection.execute("SELECT 1 FROM over_budget WHERE agent = ?", (agent,)).fetchone()
    connection.execute(
        "INSERT INTO over_budget (agent, since, until, reason) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (agent) DO UPDATE SET until = ?3, reason = ?4",
        (agent, at, over.until, over.reason),
    )
    if known is None:
        log.append(connection, at, "agent_over_budget", agent, {"reason": over.reason, "until": over.until})


def mark_within(connection: sqlite3.Connection, agent: str, at: float) -> None:
    """Record that an agent may take turns again, and append the event if it could not before."""
    if connection.execute("DELETE FROM over_budget WHERE agent = ?", (agent,)).rowcount == 1:
        log.append(connection, at, "agent_within_budget", agent, {})
