"""The rows of questions, as functions of a connection. Each is (part of) one transaction."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from reconciler.store.messagenotices import NOTICES_BYTES, NOTICES_KEPT
from reconciler.store.texts import text, texts

DONE_KEPT = 10_000
"""Answered questions that are kept; the oldest go."""
_PRUNE_EVERY = 100

_COLUMNS = (
    "id, CAST(asker AS BLOB), CAST(target AS BLOB), CAST(question AS BLOB), CAST(options AS BLOB), multi, asked_at, "
    "expires_at, answered_at, CAST(answer AS BLOB), CAST(answerer AS BLOB)"
)


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `target` is an agent or `operator`; times are Unix seconds. Open: without `answer`."""

    id: int
    asker: str
    target: str
    question: str
    options: tuple[str, ...]
    multi: bool
    asked_at: int
    expires_at: int | None = None
    answered_at: int | None = None
    answer: str | None = None
    answerer: str | None = None


def insert(
    connection: sqlite3.Connection,
    asker: str,
    target: str,
    question: str,
    options: tuple[str, ...],
    multi: bool,
    at: int,
    expires_at: int | None,
) -> int:
    """Add an open question; its id."""
    cursor = connection.execute(
        "INSERT INTO questions (asker, target, question, options, multi, asked_at, expires_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (asker, target, question, json.dumps(options), int(multi), at, expires_at),
    )
    return cursor.lastrowid or 0


def get(connection: sqlite3.Connection, id: int) -> Question | None:
    """One question, open or not."""
    found = _select(connection, "id = ?", (id,))
    return found[0] if found else None


def open_ones(connection: sqlite3.Connection, name: str | None = None) -> list[Question]:
    """The open questions, newest first; of `name` those that it asked or that it is to answer."""
    where = "answered_at IS NULL AND (?1 IS NULL OR asker = ?1 OR target = ?1) ORDER BY id DESC"
    return _select(connection, where, (name,))


def due(connection: sqlite3.Connection, at: int, limit: int) -> list[Question]:
    """Open questions whose time is over, the longest over first."""
    where = "answered_at IS NULL AND expires_at <= ? ORDER BY expires_at, id LIMIT ?"
    return _select(connection, where, (at, limit))


def next_due(connection: sqlite3.Connection, after: int) -> int | None:
    """When the next open question expires, after that time."""
    query = "SELECT min(expires_at) FROM questions WHERE answered_at IS NULL AND expires_at > ?"
    found = connection.execute(query, (after,)).fetchone()[0]
    return None if found is None else int(found)


def count_open(connection: sqlite3.Connection, asker: str) -> int:
    """How many questions of `asker` wait for an answer."""
    query = "SELECT count(*) FROM questions WHERE answered_at IS NULL AND asker = ?"
    return int(connection.execute(query, (asker,)).fetchone()[0])


def count_asked(connection: sqlite3.Connection, target: str) -> int:
    """How many questions wait for an answer of `target`."""
    query = "SELECT count(*) FROM questions WHERE answered_at IS NULL AND target = ?"
    return int(connection.execute(query, (target,)).fetchone()[0])


def close(connection: sqlite3.Connection, id: int, answer: str, answerer: str, at: int) -> None:
    """The question is answered (or cancelled, or expired), if it is still open."""
    connection.execute(
        "UPDATE questions SET answer = ?, answerer = ?, answered_at = ? WHERE id = ? AND answered_at IS NULL",
        (answer, answerer, at, id),
    )
    if id % _PRUNE_EVERY == 0:
        connection.execute(
            "DELETE FROM questions WHERE id IN (SELECT id FROM questions WHERE answered_at IS NOT NULL "
            "ORDER BY answered_at DESC, id DESC LIMIT -1 OFFSET ?)",
            (DONE_KEPT,),
        )


def has_room(connection: sqlite3.Connection, recipient: str) -> bool:
    """Whether an inbox takes more that an agent brings about: hive's own messages in it are at most half of what it
    keeps of them, so that no agent pushes out what hive itself has to tell."""
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages "
        "WHERE recipient = ? AND origin = 'system' AND acked_at IS NULL AND dead_at IS NULL",
        (recipient,),
    ).fetchone()
    return bool(count < NOTICES_KEPT // 2 and size < NOTICES_BYTES // 2)


def _select(connection: sqlite3.Connection, where: str, parameters: tuple[object, ...]) -> list[Question]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM questions WHERE {where}", parameters)  # noqa: S608 - constants
    return [_question(row) for row in rows]


def _question(row: tuple[object, ...]) -> Question:
    id, asker, target, question, options, multi, asked_at, expires_at, answered_at, answer, answerer = row
    what = f"question {id}"
    return Question(
        _int(id),
        text(asker, f"the asker of {what}"),
        text(target, f"the target of {what}"),
        text(question, what),
        texts(options, f"the options of {what}"),
        bool(multi),
        _int(asked_at),
        None if expires_at is None else _int(expires_at),
        None if answered_at is None else _int(answered_at),
        None if answer is None else text(answer, f"the answer of {what}"),
        None if answerer is None else text(answerer, f"the answerer of {what}"),
    )


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0  # STRICT: the column holds nothing else
