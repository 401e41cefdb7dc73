"""The rows of the broker, as functions of a connection. Each is (part of) one transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as handed out. `redelivered`: it was handed out before, and may have been handled already."""

    id: int
    sender: str
    body: str
    redelivered: bool


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """One message as listed. `at`: when it was accepted, in Unix seconds."""

    id: int
    sender: str
    body: str
    at: int


def insert(
    connection: sqlite3.Connection, sender: str, recipient: str, body: str, at: int, limit: int | None
) -> int | None:
    """Add a waiting message and return its id; None when `limit` messages wait already."""
    if limit is not None and count_waiting(connection, recipient) >= limit:
        return None
    cursor = connection.execute(
        "INSERT INTO messages (sender, recipient, body, at) VALUES (?, ?, ?, ?)", (sender, recipient, body, at)
    )
    return cursor.lastrowid


def take(connection: sqlite3.Connection, recipient: str, at: int, incarnation: str | None) -> Delivery | None:
    """Hand out the oldest waiting message; None when there is none."""
    row = connection.execute(
        "SELECT id, sender, body, attempts FROM messages "
        "WHERE recipient = ? AND delivered_at IS NULL ORDER BY id LIMIT 1",
        (recipient,),
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE messages SET delivered_at = ?, attempts = attempts + 1, incarnation = ? WHERE id = ?",
        (at, incarnation, row[0]),
    )
    return Delivery(id=row[0], sender=row[1], body=row[2], redelivered=row[3] > 0)


def put_back(connection: sqlite3.Connection, id: int) -> None:
    """As if the message had not been handed out: nobody has seen it."""
    connection.execute(
        "UPDATE messages SET delivered_at = NULL, attempts = max(attempts - 1, 0) "
        "WHERE id = ? AND delivered_at IS NOT NULL AND acked_at IS NULL",
        (id,),
    )


def ack(connection: sqlite3.Connection, recipient: str, at: int) -> int:
    """Everything in flight is done."""
    return connection.execute(
        "UPDATE messages SET acked_at = ? WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL",
        (at, recipient),
    ).rowcount


def requeue(connection: sqlite3.Connection, recipient: str) -> int:
    """Everything in flight waits again; `attempts` stays, so the next hand-out is a redelivery."""
    return connection.execute(
        "UPDATE messages SET delivered_at = NULL WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL",
        (recipient,),
    ).rowcount


def mark_read(connection: sqlite3.Connection, recipient: str, up_to: int, at: int) -> int:
    """Waiting messages up to this id are done without having been handed out."""
    return connection.execute(
        "UPDATE messages SET delivered_at = ?1, acked_at = ?1 "
        "WHERE recipient = ?2 AND id <= ?3 AND delivered_at IS NULL",
        (at, recipient, up_to),
    ).rowcount


def count_waiting(connection: sqlite3.Connection, recipient: str) -> int:
    """How many messages wait in one inbox."""
    query = "SELECT count(*) FROM messages WHERE recipient = ? AND delivered_at IS NULL"
    return int(connection.execute(query, (recipient,)).fetchone()[0])


def count_all_waiting(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages wait, for each inbox that has any."""
    query = "SELECT recipient, count(*) FROM messages WHERE delivered_at IS NULL GROUP BY recipient"
    return dict(connection.execute(query).fetchall())


def recent(connection: sqlite3.Connection, recipient: str, limit: int) -> list[InboxMessage]:
    """The newest messages of one inbox, newest first."""
    rows = connection.execute(
        "SELECT id, sender, body, at FROM messages WHERE recipient = ? ORDER BY id DESC LIMIT ?", (recipient, limit)
    )
    return [InboxMessage(*row) for row in rows]


def delete(connection: sqlite3.Connection, recipient: str) -> None:
    """Remove an inbox with everything in it."""
    connection.execute("DELETE FROM messages WHERE recipient = ?", (recipient,))
