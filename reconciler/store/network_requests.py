"""The rows of agents' requests to reach a host, as functions of a connection. Each is (part of) one transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from meta.network.rule import authority
from reconciler.store.texts import text

ALLOWED = "allowed"
DENIED = "denied"
DECIDED_KEPT = 200
"""Decided requests of one agent that are kept: the newest."""

_COLUMNS = (
    "id, CAST(agent AS BLOB), CAST(host AS BLOB), port, CAST(why AS BLOB), count, asked_at, last_at, decision, "
    "decided_at, CAST(coalesce(decided_by, '') AS BLOB), CAST(coalesce(answer, '') AS BLOB)"
)


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """One request of an agent for a host and a port. Times are Unix seconds. Without a `decision` it is pending.

    `why` and `answer` are texts on one line: the agent's, and those of the answer that it got. `count`: how often it
    asked for the same while the request was pending.
    """

    id: int
    agent: str
    host: str
    port: int
    why: str
    count: int
    asked_at: int
    last_at: int
    decision: str | None = None
    decided_at: int | None = None
    decided_by: str = ""
    answer: str = ""

    @property
    def rule(self) -> str:
        """Return the narrowest rule that covers it."""
        return authority(self.host, self.port)


def insert(connection: sqlite3.Connection, agent: str, host: str, port: int, why: str, at: int) -> int:
    """Add a pending request. Return its id."""
    cursor = connection.execute(
        "INSERT INTO network_requests (agent, host, port, why, asked_at, last_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        (agent, host, port, why, at),
    )
    return cursor.lastrowid or 0


def count_again(connection: sqlite3.Connection, agent: str, host: str, port: int, at: int) -> int | None:
    """Count one more time that the agent asked for what is pending. Return its id; None if nothing is."""
    row = connection.execute(
        "UPDATE network_requests SET count = count + 1, last_at = ? "
        "WHERE agent = ? AND host = ? AND port = ? AND decision IS NULL RETURNING id",
        (at, agent, host, port),
    ).fetchone()
    return None if row is None else int(row[0])


def get(connection: sqlite3.Connection, id: int) -> NetworkRequest | None:
    """Return one request, pending or not."""
    requests = _select(connection, "id = ?", (id,))
    return requests[0] if requests else None


def pending(connection: sqlite3.Connection, agent: str | None = None) -> list[NetworkRequest]:
    """Return the pending requests of an agent (None: of all), oldest first."""
    return _select(connection, "decision IS NULL AND (?1 IS NULL OR agent = ?1) ORDER BY id", (agent,))


def count_pending(connection: sqlite3.Connection, agent: str) -> int:
    """Return how many requests of the agent are pending."""
    query = "SELECT count(*) FROM network_requests WHERE agent = ? AND decision IS NULL"
    return int(connection.execute(query, (agent,)).fetchone()[0])


def last_denied(connection: sqlite3.Connection, agent: str, host: str, port: int, since: int) -> NetworkRequest | None:
    """Return the newest request for the same that was denied at `since` or later."""
    where = "agent = ? AND host = ? AND port = ? AND decision = 'denied' AND decided_at >= ? ORDER BY id DESC LIMIT 1"
    requests = _select(connection, where, (agent, host, port, since))
    return requests[0] if requests else None


def decide(connection: sqlite3.Connection, id: int, decision: str, by: str, answer: str, at: int) -> bool:
    """Decide a request. Return False if it is not pending."""
    cursor = connection.execute(
        "UPDATE network_requests SET decision = ?, decided_by = ?, answer = ?, decided_at = ? "
        "WHERE id = ? AND decision IS NULL",
        (decision, by, answer, at, id),
    )
    return cursor.rowcount > 0


def delete_of(connection: sqlite3.Connection, agent: str) -> int:
    """Remove all requests of an agent. Return how many."""
    return connection.execute("DELETE FROM network_requests WHERE agent = ?", (agent,)).rowcount


def prune(connection: sqlite3.Connection, agent: str) -> None:
    """Remove the decided requests of an agent but the newest DECIDED_KEPT."""
    theirs = "agent = ?1 AND decision IS NOT NULL"
    connection.execute(
        f"DELETE FROM network_requests WHERE {theirs} AND id <= "  # noqa: S608 - constants
        f"(SELECT id FROM network_requests WHERE {theirs} ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (agent, DECIDED_KEPT),
    )


def _select(connection: sqlite3.Connection, where: str, parameters: tuple[object, ...]) -> list[NetworkRequest]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM network_requests WHERE {where}", parameters)  # noqa: S608
    return [_request(row) for row in rows]


def _request(row: tuple[object, ...]) -> NetworkRequest:
    id, agent, host, port, why, count, asked_at, last_at, decision, decided_at, by, answer = row
    what = f"network request {id}"
    return NetworkRequest(
        _int(id),
        text(agent, f"the agent of {what}"),
        text(host, f"the host of {what}"),
        _int(port),
        text(why, f"the reason of {what}"),
        _int(count),
        _int(asked_at),
        _int(last_at),
        decision if isinstance(decision, str) else None,
        None if decided_at is None else _int(decided_at),
        text(by, f"who decided {what}"),
        text(answer, f"the answer of {what}"),
    )


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0  # the table is STRICT: the column holds integers only
