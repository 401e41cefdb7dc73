"""The broker's lists: what an inbox held, the dead letters, and what is old enough to go. Functions of a connection."""

from __future__ import annotations

import sqlite3

from meta.names import SYSTEM
from reconciler.store.events import log
from reconciler.store.messages.text import DeadLetter, InboxMessage, listed, name, shown

RECENT_BYTES = 2**20
"""Bytes of bodies that one list gives at most, but always its first message."""

KEPT_SECONDS = 30 * 24 * 3600
"""For how long after its ack a message is kept, and after its use a peer's key."""


def recent(connection: sqlite3.Connection, recipient: str, limit: int) -> list[InboxMessage]:
    """The newest messages of one inbox, newest first, as far as RECENT_BYTES go."""
    rows = connection.execute(
        "SELECT id, CAST(sender AS BLOB), CAST(body AS BLOB), at, CAST(origin AS BLOB), broadcast FROM messages "
        "WHERE recipient = ? ORDER BY id DESC LIMIT ?",
        (recipient, limit),
    )
    found: list[InboxMessage] = []
    size = 0
    for row in rows:
        message = listed(row)
        size += len(row[2])
        if found and size > RECENT_BYTES:
            break
        found.append(message)
    return found


def dead_letters(connection: sqlite3.Connection, limit: int) -> list[DeadLetter]:
    """The newest dead letters of all inboxes, newest first, as far as RECENT_BYTES go."""
    rows = connection.execute(
        "SELECT id, CAST(sender AS BLOB), CAST(body AS BLOB), CAST(recipient AS BLOB), at, attempts, dead_at, "
        "broadcast FROM messages WHERE dead_at IS NOT NULL ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    found: list[DeadLetter] = []
    size = 0
    for id, sender, body, recipient, at, attempts, dead_at, broadcast in rows:
        size += len(body)
        if found and size > RECENT_BYTES:
            break
        who, text = shown(id, sender, body, broadcast=bool(broadcast))
        found.append(DeadLetter(id, who, name(recipient), text, at, attempts, dead_at))
    return found


def count_dead(connection: sqlite3.Connection) -> dict[str, int]:
    """How many dead letters there are, for each inbox that has any."""
    query = "SELECT CAST(recipient AS BLOB), count(*) FROM messages WHERE dead_at IS NOT NULL GROUP BY recipient"
    return {name(recipient): count for recipient, count in connection.execute(query)}


def dead_recipient(connection: sqlite3.Connection, id: int) -> str | None:
    """Whose dead letter this is; None when there is no such."""
    row = connection.execute(
        "SELECT CAST(recipient AS BLOB) FROM messages WHERE id = ? AND dead_at IS NOT NULL", (id,)
    ).fetchone()
    return None if row is None else name(row[0])


def revive(connection: sqlite3.Connection, id: int) -> bool:
    """It waits again, in its old place, as one that was handed out once. False when it is no dead letter."""
    change = "UPDATE messages SET dead_at = NULL, attempts = 1 WHERE id = ? AND dead_at IS NOT NULL"
    return connection.execute(change, (id,)).rowcount > 0


def discard(connection: sqlite3.Connection, id: int) -> bool:
    """Remove a dead letter. False when there is no such."""
    return connection.execute("DELETE FROM messages WHERE id = ? AND dead_at IS NOT NULL", (id,)).rowcount > 0


def clean(connection: sqlite3.Connection, now: int) -> int:
    """Remove what was acked, and peers' keys that were used, over KEPT_SECONDS ago. Returns how many messages went.

    What is not acked stays. hive's own keys go with their events: an event's number does not come again.
    """
    before = now - KEPT_SECONDS
    connection.execute("DELETE FROM message_keys WHERE at < ? AND sender <> ?", (before, SYSTEM))
    connection.execute(
        "DELETE FROM message_keys WHERE sender = ? AND key >= 'event:' AND key < 'event;' "
        "AND CAST(substr(key, 7) AS INTEGER) < ?",
        (SYSTEM, log.extent(connection).first),
    )
    return connection.execute("DELETE FROM messages WHERE acked_at IS NOT NULL AND acked_at < ?", (before,)).rowcount
