"""The messages of all inboxes, newest first, as functions of a connection: filtered, searched, page by page."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from reconciler.store.messages.text import BROADCAST_MARK, decode_name
from reconciler.store.texts import beginning

MessageState = Literal["waiting", "in-flight", "done", "dead"]
"""What became of a message (docs/reference/broker.md)."""

TEXT_BYTES = 2_048
"""Bytes of a body in the list."""
SEARCHED_BYTES = 32 * 2**20
"""Bytes of bodies that one search reads, at most; it goes on from there when it is asked again."""
SEARCHED_ROWS = 20_000
_ALL = 2**30
"""More bytes than a body can have."""
WINDOW = 100_000
"""Ids that one page looks through, at most."""

_STATE = (
    "CASE WHEN dead_at IS NOT NULL THEN 'dead' WHEN acked_at IS NOT NULL THEN 'done' "
    "WHEN delivered_at IS NOT NULL THEN 'in-flight' ELSE 'waiting' END"
)
_COLUMNS = (
    "id, CAST(sender AS BLOB), CAST(recipient AS BLOB), substr(CAST(body AS BLOB), 1, :text), "
    f"length(CAST(body AS BLOB)), at, CAST(origin AS BLOB), broadcast, attempts, {_STATE}, "
    "coalesce(dead_at, acked_at, delivered_at)"
)
# An instr of '' is 1. `lower` knows the letters of ASCII.
_PAGE = (
    f"SELECT {_COLUMNS}, instr(lower(body), lower(:words)) FROM messages "  # noqa: S608 - constants
    "WHERE id < :before AND id >= :floor "
    "AND (:agent IS NULL OR sender = :agent OR recipient = :agent) "
    "AND (:peer IS NULL OR sender = :peer OR recipient = :peer) AND "
)
_IN_STATE: Mapping[MessageState | None, str] = {
    None: "TRUE",
    "waiting": "delivered_at IS NULL AND dead_at IS NULL",
    "in-flight": "delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL",
    "done": "acked_at IS NOT NULL",
    "dead": "dead_at IS NOT NULL",
}
"""Conditions for which there are indexes."""


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages are wanted; None and "" want all.

    `agent`: those from or to it. `peer`: of these only those from or to this one too. `words`: those whose body has
    them, in upper or lower case. `before`: those with a smaller id.
    """

    agent: str | None = None
    peer: str | None = None
    state: MessageState | None = None
    words: str = ""
    before: int | None = None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message of any inbox. `at`, and `state_at` (since when it is in `state`), are Unix seconds.

    `size`: bytes of the body. `cut`: `body` is only its beginning. `attempts`: how often it was delivered.
    """

    id: int
    sender: str
    recipient: str
    body: str
    size: int
    cut: bool
    at: int
    origin: str
    broadcast: bool
    attempts: int
    state: MessageState
    state_at: int | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages, newest first. `next`: the `before` of the next page; None: there are no older ones."""

    rows: tuple[MessageRow, ...]
    next: int | None


def page(connection: sqlite3.Connection, wanted: MessageFilter, limit: int) -> MessagePage:
    """Return at most `limit` messages, perhaps fewer although there are older ones: a search reads a bounded part."""
    first, newest = connection.execute("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM messages").fetchone()
    before = newest + 1 if wanted.before is None else min(wanted.before, newest + 1)
    floor = max(first, before - WINDOW)
    values = {
        "text": TEXT_BYTES,
        "agent": wanted.agent,
        "peer": wanted.peer,
        "words": wanted.words,
        "before": before,
        "floor": floor,
    }
    query = f"{_PAGE}{_IN_STATE[wanted.state]} ORDER BY id DESC"
    rows: list[MessageRow] = []
    read = 0
    for place, row in enumerate(connection.execute(query, values), start=1):
        if row[11]:
            rows.append(_row(row[:11], TEXT_BYTES))
        read += row[4]
        if len(rows) == limit or (wanted.words and (read > SEARCHED_BYTES or place == SEARCHED_ROWS)):
            return MessagePage(tuple(rows), row[0] if row[0] > first else None)
    return MessagePage(tuple(rows), floor if floor > first else None)


def get(connection: sqlite3.Connection, id: int) -> MessageRow | None:
    """Return one message with its whole body; None if there is none."""
    query = f"SELECT {_COLUMNS} FROM messages WHERE id = :id"  # noqa: S608 - constants
    row = connection.execute(query, {"text": _ALL, "id": id}).fetchone()
    return None if row is None else _row(row, _ALL)


def _row(row: tuple[object, ...], most: int) -> MessageRow:
    id, sender, recipient, body, size, at, origin, broadcast, attempts, state, state_at = row
    whole = _int(size) <= most
    made = MessageRow(
        _int(id),
        _name(sender),
        _name(recipient),
        beginning(body, whole, f"message {id}"),
        _int(size),
        not whole,
        _int(at),
        _name(origin),
        bool(broadcast),
        _int(attempts),
        state,  # type: ignore[arg-type]  # one of the words in _STATE
        None if state_at is None else _int(state_at),
    )
    return replace(made, body=BROADCAST_MARK + made.body) if made.broadcast else made


def _name(stored: object) -> str:
    return decode_name(stored) if isinstance(stored, bytes) else ""


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0  # the table is STRICT
