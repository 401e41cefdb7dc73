"""The rows of reminders, as functions of a connection. Each is (part of) one transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from meta.names import REMINDER
from reconciler.store.notices import has_room, post
from reconciler.store.texts import ALARM, beginning, text

_COLUMNS = "id, CAST(owner AS BLOB), CAST(message AS BLOB), due_at, made_at"


@dataclass(frozen=True, slots=True)
class Reminder:
    """One reminder that is not delivered yet. `message` is the body of the message; times are Unix seconds."""

    id: int
    owner: str
    message: str
    due_at: int
    made_at: int


def insert(connection: sqlite3.Connection, owner: str, message: str, due_at: int, at: int, most: int) -> int | None:
    """Add a reminder. Return its id, or None if the owner has `most` already."""
    if count(connection, owner) >= most:
        return None
    cursor = connection.execute(
        "INSERT INTO reminders (owner, message, due_at, made_at) VALUES (?, ?, ?, ?)", (owner, message, due_at, at)
    )
    return cursor.lastrowid


def count(connection: sqlite3.Connection, owner: str) -> int:
    """Return how many reminders of `owner` wait."""
    return int(connection.execute("SELECT count(*) FROM reminders WHERE owner = ?", (owner,)).fetchone()[0])


def get(connection: sqlite3.Connection, id: int) -> Reminder | None:
    """Return one reminder."""
    reminders = _select(connection, "id = ?", (id,))
    return reminders[0] if reminders else None


def listed(connection: sqlite3.Connection, owner: str | None, most: int, text_bytes: int) -> list[Reminder]:
    """Return the newest `most` reminders of `owner` (None: of all), newest first, with texts cut to `text_bytes`."""
    query = (
        "SELECT id, CAST(owner AS BLOB), substr(CAST(message AS BLOB), 1, :text), due_at, made_at, "
        "length(CAST(message AS BLOB)) <= :text FROM reminders WHERE (:owner IS NULL OR owner = :owner) "
        "ORDER BY id DESC LIMIT :most"
    )
    return [
        Reminder(
            id, text(name, f"the owner of reminder {id}"), beginning(message, bool(whole), f"reminder {id}"), due, at
        )
        for id, name, message, due, at, whole in connection.execute(
            query, {"text": text_bytes, "owner": owner, "most": most}
        )
    ]


def fire(connection: sqlite3.Connection, at: int, limit: int) -> tuple[list[str], bool]:
    """Deliver at most `limit` due reminders to the inboxes of their owners, in order of due time.

    Return the owner of each, and True if there are more. If an inbox has no room, its reminders wait, in order. A
    reminder whose owner cannot be read waits too, and `listed` shows it.
    """
    query = "SELECT id, CAST(owner AS BLOB) FROM reminders WHERE due_at <= ? ORDER BY due_at, id"
    fired: list[str] = []
    held: set[str] = set()
    for id, raw in connection.execute(query, (at,)).fetchall():
        owner = text(raw, f"the owner of reminder {id}")
        if len(fired) == limit:
            return fired, True
        if owner in held or owner.startswith(ALARM) or not has_room(connection, owner, REMINDER):
            held.add(owner)
        elif (reminder := get(connection, id)) is not None:
            post(connection, REMINDER, owner, reminder.message, at)
            delete(connection, id)
            fired.append(owner)
    return fired, False


def next_due(connection: sqlite3.Connection, after: int) -> int | None:
    """Return the time of the next due reminder after `now`."""
    due_at = connection.execute("SELECT min(due_at) FROM reminders WHERE due_at > ?", (after,)).fetchone()[0]
    return None if due_at is None else int(due_at)


def delete(connection: sqlite3.Connection, id: int) -> None:
    """Remove one reminder."""
    connection.execute("DELETE FROM reminders WHERE id = ?", (id,))


def delete_of(connection: sqlite3.Connection, owner: str) -> int:
    """Remove all reminders of an owner. Return how many."""
    return connection.execute("DELETE FROM reminders WHERE owner = ?", (owner,)).rowcount


def _select(connection: sqlite3.Connection, where: str, parameters: tuple[object, ...]) -> list[Reminder]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM reminders WHERE {where}", parameters)  # noqa: S608 - constants
    return [
        Reminder(
            row[0],
            text(row[1], f"the owner of reminder {row[0]}"),
            text(row[2], f"reminder {row[0]}"),
            row[3],
            row[4],
        )
        for row in rows
    ]
