"""Messages of hive's own in inboxes: helper events and reminders, in the transaction of the change they report.

Their rows are marked (`origin`). A full inbox does not refuse them; they have a quota of their own.

Below both `events` and `messages`: an event becomes a notice in its own transaction, and a message appends events.
"""

from __future__ import annotations

import sqlite3

from meta.names import SYSTEM
from meta.wire.events import HELPER_EVENT, HelperEvent, MessageDead, QuestionAnswered, QuestionAsked

NOTICES_KEPT = 1_000
"""hive's own messages in one inbox that are not done, at most. For one more, `_evict` removes one."""

NOTICES_BYTES = 64 * 2**20
"""Bytes of hive's own messages in one inbox that are not done, at most."""

TOPIC_KEPT = NOTICES_KEPT // 2
TOPIC_BYTES = NOTICES_BYTES // 2
"""The share of one topic. An agent that would cause more messages of that topic has to wait."""

_EVICTED_LAST = "approval_resolved:"
"""Topics of messages that an agent waits for and cannot ask for again."""

LEAST_SIZE = 1_024
"""Bytes that an empty message counts, because a row takes space too."""


def notify(
    connection: sqlite3.Connection, recipient: str, event: HelperEvent, at: int, key: str | None = None
) -> int | None:
    """Put a helper event into an inbox, in the caller's transaction; return its id. `at` is in Unix seconds.

    Return None if `key` was used for this recipient before. After the commit the caller wakes the receivers with
    `Broker.wake_receivers`. A full inbox does not refuse the event: beyond NOTICES_KEPT the oldest message of the
    largest topic is removed.
    """
    return post(connection, SYSTEM, recipient, HELPER_EVENT.dump_json(event).decode(), at, key, topic(event))


def topic(event: HelperEvent) -> str:
    """Return the topic of an event: its kind, with the agent that causes it. So one agent fills one topic."""
    match event:
        case QuestionAnswered():
            return event.event
        case QuestionAsked():
            return asked_by(event.asker)
        case MessageDead():
            return f"{event.event}:{event.to}"
        case _:
            return f"{event.event}:{event.agent}"


def asked_by(asker: str) -> str:
    """Return the topic of the questions of `asker`."""
    return f"question_asked:{asker}"


ANSWERS = "question_answered"
"""The topic of the answers to the questions that the owner of an inbox asked."""


def post(
    connection: sqlite3.Connection,
    sender: str,
    recipient: str,
    body: str,
    at: int,
    key: str | None = None,
    topic: str | None = None,
) -> int | None:
    """Put a text of one of hive's own senders (`system`, `reminder`) into an inbox, as `notify` does.

    The topic is the sender's name, unless a topic is given.
    """
    if key is not None and key_used(connection, sender, recipient, key) is not None:
        return None
    size = max(LEAST_SIZE, len(body.encode()))
    _evict(connection, recipient, size)
    cursor = connection.execute(
        "INSERT INTO messages (sender, recipient, body, at, size, origin, topic) VALUES (?, ?, ?, ?, ?, 'system', ?)",
        (sender, recipient, body, at, size, sender if topic is None else topic),
    )
    id = cursor.lastrowid or 0
    if key is not None:
        use_key(connection, sender, recipient, key, id, at)
    return id


def key_used(connection: sqlite3.Connection, sender: str, recipient: str, key: str) -> int | None:
    """Return the id of the message that was stored with this key before, or None."""
    row = connection.execute(
        "SELECT id FROM message_keys WHERE sender = ? AND recipient = ? AND key = ?", (sender, recipient, key)
    ).fetchone()
    return None if row is None else int(row[0])


def use_key(connection: sqlite3.Connection, sender: str, recipient: str, key: str, id: int, at: int) -> None:
    """Remember the key of message `id`."""
    connection.execute(
        "INSERT INTO message_keys (sender, recipient, key, id, at) VALUES (?, ?, ?, ?, ?)",
        (sender, recipient, key, id, at),
    )


def has_room(connection: sqlite3.Connection, recipient: str, topic: str) -> bool:
    """Return True if an inbox has room for more of a topic.

    Other topics do not count, because an agent waits only for its own.
    """
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages "
        "WHERE recipient = ? AND topic = ? AND origin = 'system' AND acked_at IS NULL AND dead_at IS NULL",
        (recipient, topic),
    ).fetchone()
    return bool(count < TOPIC_KEPT and size < TOPIC_BYTES)


def withdraw(connection: sqlite3.Connection, id: int) -> None:
    """Remove a message of hive's own if it still waits."""
    connection.execute(
        "DELETE FROM messages WHERE id = ? AND origin = 'system' AND delivered_at IS NULL AND dead_at IS NULL", (id,)
    )


def _evict(connection: sqlite3.Connection, recipient: str, size: int) -> None:
    """Remove messages of hive's own until one of `size` bytes fits.

    The oldest of the largest topic goes first, one in flight last.
    """
    count, total = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages "
        "WHERE recipient = ? AND origin = 'system' AND acked_at IS NULL",
        (recipient,),
    ).fetchone()
    while count and (count >= NOTICES_KEPT or total + size > NOTICES_BYTES):
        most = "count(*)" if count >= NOTICES_KEPT else "sum(size)"
        (largest,) = connection.execute(
            "SELECT topic FROM messages WHERE recipient = ? AND origin = 'system' AND acked_at IS NULL "  # noqa: S608
            f"GROUP BY topic ORDER BY topic GLOB ?, {most} DESC, min(id) LIMIT 1",
            (recipient, f"{_EVICTED_LAST}*"),
        ).fetchone()
        id, freed = connection.execute(
            "SELECT id, size FROM messages WHERE recipient = ? AND topic = ? AND origin = 'system' "
            "AND acked_at IS NULL ORDER BY delivered_at IS NOT NULL, id LIMIT 1",
            (recipient, largest),
        ).fetchone()
        connection.execute("DELETE FROM messages WHERE id = ?", (id,))
        count, total = count - 1, total - freed
