"""The rows of the broker, as functions of a connection. Each is (part of) one transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

LEAST_SIZE = 1_024
"""What an empty message counts in bytes: a row is not free either."""

DONE_KEPT = 1_000
"""Messages per inbox that are kept after they are done, for `recent`."""

RECENT_BYTES = 2**20
"""Bytes of bodies that `recent` gives at most, but always the newest message."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one inbox: how many messages may wait, and what those that are not done may have together in bytes."""

    waiting: int
    size: int


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


def insert(connection: sqlite3.Connection, sender: str, recipient: str, body: str, at: int, quota: Quota) -> int | None:
    """Add a waiting message and return its id; None when the inbox is full.

    What was handed out and not acked counts too: else an agent that only takes fills the disk.
    """
    size = max(LEAST_SIZE, len(body.encode()))
    if count_waiting(connection, recipient) >= quota.waiting or _open_size(connection, recipient) + size > quota.size:
        return None
    cursor = connection.execute(
        "INSERT INTO messages (sender, recipient, body, at, size) VALUES (?, ?, ?, ?, ?)",
        (sender, recipient, body, at, size),
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


def ack(connection: sqlite3.Connection, recipient: str, at: int, quota: Quota) -> int:
    """Everything in flight is done."""
    count = connection.execute(
        "UPDATE messages SET acked_at = ? WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL",
        (at, recipient),
    ).rowcount
    _prune(connection, recipient, quota)
    return count


def requeue(connection: sqlite3.Connection, recipient: str) -> int:
    """Everything in flight waits again; `attempts` stays, so the next hand-out is a redelivery."""
    return connection.execute(
        "UPDATE messages SET delivered_at = NULL WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL",
        (recipient,),
    ).rowcount


def mark_read(connection: sqlite3.Connection, recipient: str, up_to: int, at: int, quota: Quota) -> int:
    """Waiting messages up to this id are done without having been handed out."""
    count = connection.execute(
        "UPDATE messages SET delivered_at = ?1, acked_at = ?1 "
        "WHERE recipient = ?2 AND id <= ?3 AND delivered_at IS NULL",
        (at, recipient, up_to),
    ).rowcount
    _prune(connection, recipient, quota)
    return count


def count_waiting(connection: sqlite3.Connection, recipient: str) -> int:
    """How many messages wait in one inbox."""
    query = "SELECT count(*) FROM messages WHERE recipient = ? AND delivered_at IS NULL"
    return int(connection.execute(query, (recipient,)).fetchone()[0])


def count_all_waiting(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages wait, for each inbox that has any."""
    query = "SELECT recipient, count(*) FROM messages WHERE delivered_at IS NULL GROUP BY recipient"
    return dict(connection.execute(query).fetchall())


def recent(connection: sqlite3.Connection, recipient: str, limit: int) -> list[InboxMessage]:
    """The newest messages of one inbox, newest first, as far as RECENT_BYTES go."""
    rows = connection.execute(
        "SELECT id, sender, body, at FROM messages WHERE recipient = ? ORDER BY id DESC LIMIT ?", (recipient, limit)
    )
    found: list[InboxMessage] = []
    size = 0
    for row in rows:
        message = InboxMessage(*row)
        size += len(message.body.encode())
        if found and size > RECENT_BYTES:
            break
        found.append(message)
    return found


def delete(connection: sqlite3.Connection, recipient: str) -> None:
    """Remove an inbox with everything in it."""
    connection.execute("DELETE FROM messages WHERE recipient = ?", (recipient,))


def _open_size(connection: sqlite3.Connection, recipient: str) -> int:
    query = "SELECT coalesce(sum(size), 0) FROM messages WHERE recipient = ? AND acked_at IS NULL"
    return int(connection.execute(query, (recipient,)).fetchone()[0])


def _prune(connection: sqlite3.Connection, recipient: str, quota: Quota) -> None:
    """Of what is done keep the newest DONE_KEPT messages, and no more bytes than may be open."""
    connection.execute(
        "DELETE FROM messages WHERE id IN ("
        " SELECT id FROM ("
        "  SELECT id, row_number() OVER newest AS place, sum(size) OVER newest AS total FROM messages"
        "  WHERE recipient = ? AND acked_at IS NOT NULL"
        "  WINDOW newest AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)"
        " ) WHERE place > ? OR total > ?)",
        (recipient, DONE_KEPT, quota.size),
    )
