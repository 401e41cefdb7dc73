"""Lists of messages as functions of a connection: the newest of an inbox, dead letters, and the removal of old ones."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from meta.names import SYSTEM
from reconciler.store.events import keys, log
from reconciler.store.messages.text import DeadLetter, DeadLetterHead, InboxMessage, decode, decode_name, inbox_message

RECENT_BYTES = 2**20
"""Bytes of the bodies in one list, at most. The first message is always in the list."""

KEPT_SECONDS = 30 * 24 * 3600
"""Seconds that a message is kept after its ack, and a peer's key after its use."""


def recent(
    connection: sqlite3.Connection, recipient: str, limit: int, *, only_unread: bool = False
) -> list[InboxMessage]:
    """Return the newest messages of one inbox, newest first, with at most RECENT_BYTES."""
    rows = connection.execute(
        "SELECT id, CAST(sender AS BLOB), CAST(body AS BLOB), at, CAST(origin AS BLOB), broadcast, "
        "delivered_at IS NULL AND dead_at IS NULL AS unread FROM messages "
        "WHERE recipient = ? AND unread >= ? ORDER BY id DESC LIMIT ?",
        (recipient, only_unread, limit),
    )
    messages: list[InboxMessage] = []
    size = 0
    for row in rows:
        message = inbox_message(row)
        size += len(row[2])
        if messages and size > RECENT_BYTES:
            break
        messages.append(message)
    return messages


def count_waiting(connection: sqlite3.Connection, recipient: str) -> int:
    """Return how many messages wait in one inbox."""
    query = "SELECT count(*) FROM messages WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL"
    return int(connection.execute(query, (recipient,)).fetchone()[0])


def count_all_waiting(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many messages wait in each inbox that is not empty."""
    rows = connection.execute(
        "SELECT CAST(recipient AS BLOB), count(*) FROM messages "
        "WHERE delivered_at IS NULL AND dead_at IS NULL GROUP BY recipient"
    )
    return {decode_name(recipient): count for recipient, count in rows}


def count_kept(connection: sqlite3.Connection, recipients: Collection[str]) -> dict[str, int]:
    """Return how many messages are kept of each of these inboxes that is not empty, read ones too."""
    rows = connection.execute(
        "SELECT CAST(recipient AS BLOB), count(*) FROM messages "
        "WHERE recipient IN (SELECT value FROM json_each(?)) GROUP BY recipient",
        (json.dumps(sorted(recipients)),),
    )
    return {decode_name(recipient): count for recipient, count in rows}


def dead_letters(connection: sqlite3.Connection, limit: int) -> list[DeadLetter]:
    """Return the newest dead letters of all inboxes, newest first, with at most RECENT_BYTES."""
    rows = connection.execute(
        "SELECT id, CAST(sender AS BLOB), CAST(body AS BLOB), CAST(recipient AS BLOB), at, attempts, dead_at, "
        "broadcast FROM messages WHERE dead_at IS NOT NULL ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    letters: list[DeadLetter] = []
    size = 0
    for id, sender, body, recipient, at, attempts, dead_at, broadcast in rows:
        size += len(body)
        if letters and size > RECENT_BYTES:
            break
        who, text = decode(id, sender, body, broadcast=bool(broadcast))
        letters.append(DeadLetter(id, who, decode_name(recipient), text, at, attempts, dead_at))
    return letters


def dead_heads(connection: sqlite3.Connection, limit: int) -> list[DeadLetterHead]:
    """Return the newest dead letters of all inboxes, newest first, without reading their bodies."""
    rows = connection.execute(
        "SELECT id, CAST(sender AS BLOB), CAST(recipient AS BLOB), dead_at FROM messages "
        "WHERE dead_at IS NOT NULL ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [DeadLetterHead(id, decode_name(sender), decode_name(to), at) for id, sender, to, at in rows]


def oldest_waiting(connection: sqlite3.Connection, recipient: str) -> int | None:
    """Return the time of the oldest message that waits in one inbox; None if none waits."""
    query = (
        "SELECT at FROM messages WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL ORDER BY id LIMIT 1"
    )
    row = connection.execute(query, (recipient,)).fetchone()
    return None if row is None else int(row[0])


def count_dead(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of dead letters of each inbox that has any."""
    query = "SELECT CAST(recipient AS BLOB), count(*) FROM messages WHERE dead_at IS NOT NULL GROUP BY recipient"
    return {decode_name(recipient): count for recipient, count in connection.execute(query)}


def dead_recipient(connection: sqlite3.Connection, id: int) -> str | None:
    """Return the recipient of a dead letter; None if there is no such dead letter."""
    row = connection.execute(
        "SELECT CAST(recipient AS BLOB) FROM messages WHERE id = ? AND dead_at IS NOT NULL", (id,)
    ).fetchone()
    return None if row is None else decode_name(row[0])


def revive(connection: sqlite3.Connection, id: int) -> bool:
    """Requeue a dead letter in its old place, with one return counted. Return False if there is none.

    It keeps one failed turn if it had any, so that it is delivered alone.
    """
    change = (
        "UPDATE messages SET dead_at = NULL, attempts = 1, returned = 1, failed = min(failed, 1) "
        "WHERE id = ? AND dead_at IS NOT NULL"
    )
    return connection.execute(change, (id,)).rowcount > 0


def discard(connection: sqlite3.Connection, id: int) -> bool:
    """Remove a dead letter. Return False if there is none."""
    return connection.execute("DELETE FROM messages WHERE id = ? AND dead_at IS NOT NULL", (id,)).rowcount > 0


def clean(connection: sqlite3.Connection, now: int) -> int:
    """Remove messages acknowledged over KEPT_SECONDS ago, and peers' keys used before then. Return how many messages.

    Messages that are not acknowledged stay. hive's own keys are removed with their events: a number is never reused.
    """
    before = now - KEPT_SECONDS
    connection.execute("DELETE FROM message_keys WHERE at < ? AND sender <> ?", (before, SYSTEM))
    connection.execute(
        "DELETE FROM message_keys WHERE sender = ?1 AND key >= ?2 AND key < ?3 "
        "AND CAST(substr(key, length(?2) + 1) AS INTEGER) < ?4",
        (SYSTEM, *log.range_of(keys.NOTICE), log.extent(connection).first),
    )
    return connection.execute("DELETE FROM messages WHERE acked_at IS NOT NULL AND acked_at < ?", (before,)).rowcount
