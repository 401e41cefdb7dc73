"""What hive itself puts into inboxes: helper events and reminders, inside the transaction of what they tell of.

They are marked in the row (`origin`), are not refused when an inbox is full, and are bounded by themselves.
"""

from __future__ import annotations

import sqlite3

from meta.names import SYSTEM
from meta.wire.events import HELPER_EVENT, HelperEvent, QuestionAnswered, QuestionAsked

NOTICES_KEPT = 1_000
"""Of one inbox, messages of hive's own that are not done; when there is one more, one of those that flood it goes."""

NOTICES_BYTES = 64 * 2**20
"""Of one inbox, bytes that hive's own messages may have together until they are done."""

TOPIC_KEPT = NOTICES_KEPT // 2
TOPIC_BYTES = NOTICES_BYTES // 2
"""Of that, what one topic may have before the agent that brings it about is held back."""

_PRECIOUS = "approval_resolved:"
"""Somebody waits for these, and they cannot be had again: they go last."""

LEAST_SIZE = 1_024
"""What an empty message counts in bytes: a row is not free either."""


def notify(
    connection: sqlite3.Connection, recipient: str, event: HelperEvent, at: int, key: str | None = None
) -> int | None:
    """Put a helper event into an inbox, within the caller's transaction; returns its id.

    None when `key` was used for this recipient before: an event is told once. `at` in Unix seconds. After the commit
    the caller wakes receivers with `Broker.notice(recipient)`. No quota refuses it: when more than NOTICES_KEPT of
    hive's own messages are not done, the oldest goes of the topic that has most of them.
    """
    return post(connection, SYSTEM, recipient, HELPER_EVENT.dump_json(event).decode(), at, key, topic(event))


def topic(event: HelperEvent) -> str:
    """What an event tells, and of whom, or for a question by whom: what one agent can bring about has one topic."""
    match event:
        case QuestionAnswered():
            return event.event
        case QuestionAsked():
            return asked_by(event.asker)
        case _:
            return f"{event.event}:{event.agent}"


def asked_by(asker: str) -> str:
    """The topic of the questions of `asker`."""
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
    """As `notify`, of any text by one of hive's own senders (`system`, `reminder`), whose name is the topic if none is
    given."""
    if key is not None and key_used(connection, sender, recipient, key) is not None:
        return None
    size = max(LEAST_SIZE, len(body.encode()))
    _make_room(connection, recipient, size)
    cursor = connection.execute(
        "INSERT INTO messages (sender, recipient, body, at, size, origin, topic) VALUES (?, ?, ?, ?, ?, 'system', ?)",
        (sender, recipient, body, at, size, sender if topic is None else topic),
    )
    id = cursor.lastrowid or 0
    if key is not None:
        use_key(connection, sender, recipient, key, id, at)
    return id


def key_used(connection: sqlite3.Connection, sender: str, recipient: str, key: str) -> int | None:
    """The id of the message that this key brought in before."""
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
    """Whether an inbox takes more of a topic. Of others nothing counts: nobody is held back by what others do."""
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages "
        "WHERE recipient = ? AND topic = ? AND origin = 'system' AND acked_at IS NULL AND dead_at IS NULL",
        (recipient, topic),
    ).fetchone()
    return bool(count < TOPIC_KEPT and size < TOPIC_BYTES)


def withdraw(connection: sqlite3.Connection, id: int) -> None:
    """Remove a message of hive's own that waits and is of no use any more."""
    connection.execute(
        "DELETE FROM messages WHERE id = ? AND origin = 'system' AND delivered_at IS NULL AND dead_at IS NULL", (id,)
    )


def _make_room(connection: sqlite3.Connection, recipient: str, size: int) -> None:
    """Let notices go until one of `size` bytes fits: of the topic that has most, the oldest; those in flight last."""
    count, total = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages "
        "WHERE recipient = ? AND origin = 'system' AND acked_at IS NULL",
        (recipient,),
    ).fetchone()
    while count and (count >= NOTICES_KEPT or total + size > NOTICES_BYTES):
        most = "count(*)" if count >= NOTICES_KEPT else "sum(size)"
        (floods,) = connection.execute(
            "SELECT topic FROM messages WHERE recipient = ? AND origin = 'system' AND acked_at IS NULL "  # noqa: S608
            f"GROUP BY topic ORDER BY topic GLOB ?, {most} DESC, min(id) LIMIT 1",
            (recipient, f"{_PRECIOUS}*"),
        ).fetchone()
        id, freed = connection.execute(
            "SELECT id, size FROM messages WHERE recipient = ? AND topic = ? AND origin = 'system' "
            "AND acked_at IS NULL ORDER BY delivered_at IS NOT NULL, id LIMIT 1",
            (recipient, floods),
        ).fetchone()
        connection.execute("DELETE FROM messages WHERE id = ?", (id,))
        count, total = count - 1, total - freed
