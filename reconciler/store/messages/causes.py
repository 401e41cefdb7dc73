"""What began a turn: the messages of an agent's latest turn, and the messages that their senders had when they wrote.

hive does not record which message a turn was about. A message counts as one of a turn while it is in flight.
"""

from __future__ import annotations

import sqlite3

NEWEST = 5_000
"""Messages of all inboxes among which a cause is looked for, the newest before what it caused."""
OF_ONE = 20
"""Causes of one message that are followed, at most: the newest."""
STEPS = 200
"""Messages that are looked at, at most. A longer way counts as one from the topic."""

_LATEST = """
SELECT id, sender, topic, at FROM messages WHERE recipient = :agent AND id > (SELECT max(id) FROM messages) - :newest
AND dead_at IS NULL AND attempts > 0 AND (acked_at IS NULL OR acked_at = (
    SELECT max(acked_at) FROM messages WHERE recipient = :agent AND id > (SELECT max(id) FROM messages) - :newest))
ORDER BY id DESC LIMIT :most
"""
_BEFORE = """
SELECT id, sender, topic, at FROM messages WHERE recipient = :agent AND id > :id - :newest AND id < :id
AND delivered_at <= :at AND coalesce(acked_at, dead_at, :at) >= :at ORDER BY id DESC LIMIT :most
"""


def comes_from(connection: sqlite3.Connection, agent: str, topic: str) -> bool:
    """Return True if the latest turn of `agent` goes back to a message of hive with this topic, over any agents."""
    bounds = {"newest": NEWEST, "most": OF_ONE}
    open_rows = list(connection.execute(_LATEST, {"agent": agent, **bounds}))
    seen: set[int] = set()
    while open_rows:
        id, sender, of, at = open_rows.pop()
        if of.startswith(topic) or len(seen) >= STEPS:
            return True
        if id not in seen:
            seen.add(id)
            open_rows += connection.execute(_BEFORE, {"agent": sender, "id": id, "at": at, **bounds})
    return False
