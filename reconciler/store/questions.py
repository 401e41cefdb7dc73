"""The rows of questions, as functions of a connection. Each is (part of) one transaction."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from reconciler.store.texts import beginning, text, texts

DONE_KEPT = 1_000
DONE_BYTES = 8 * 2**20
DONE_SECONDS = 30 * 24 * 3600
"""Limits of the answered questions that are kept of one asker: the newest, in number, bytes and age."""

_COLUMNS = (
    "id, CAST(asker AS BLOB), CAST(target AS BLOB), CAST(question AS BLOB), CAST(options AS BLOB), multi, asked_at, "
    "expires_at, answered_at, CAST(answer AS BLOB), CAST(answerer AS BLOB)"
)


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `target` is an agent or `operator`; times are Unix seconds. Without `answer` it is open.

    `cut`: the text or the options are not complete, as in a list.
    """

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
    cut: bool = False


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
    """Add an open question. Return its id."""
    cursor = connection.execute(
        "INSERT INTO questions (asker, target, question, options, multi, asked_at, expires_at, size) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, length(CAST(?3 AS BLOB)) + length(CAST(?4 AS BLOB)))",
        (asker, target, question, stored(options), int(multi), at, expires_at),
    )
    return cursor.lastrowid or 0


def set_notice(connection: sqlite3.Connection, id: int, notice: int | None) -> None:
    """Record the message that notified the target of a question."""
    connection.execute("UPDATE questions SET notice = ? WHERE id = ?", (notice, id))


def stored(options: tuple[str, ...]) -> str:
    """Return options as they are stored."""
    return json.dumps(options)


def get(connection: sqlite3.Connection, id: int) -> Question | None:
    """Return one question, open or not."""
    questions = _select(connection, "id = ?", (id,))
    return questions[0] if questions else None


def open_ones(connection: sqlite3.Connection, name: str | None = None) -> list[Question]:
    """Return the open questions, newest first. With `name`, only those that it asked or has to answer."""
    where = "answered_at IS NULL AND (?1 IS NULL OR asker = ?1 OR target = ?1) ORDER BY id DESC"
    return _select(connection, where, (name,))


def listed(
    connection: sqlite3.Connection, name: str | None, most: int, text_bytes: int, options_bytes: int
) -> list[Question]:
    """Return the newest `most` questions as `open_ones` does, without reading long texts into memory.

    Texts are cut to `text_bytes`; options with more than `options_bytes` are left out.
    """
    query = (
        "SELECT id, CAST(asker AS BLOB), CAST(target AS BLOB), substr(CAST(question AS BLOB), 1, :text), "
        "CASE WHEN length(CAST(options AS BLOB)) <= :options THEN CAST(options AS BLOB) END, multi, asked_at, "
        "expires_at, length(CAST(question AS BLOB)) <= :text FROM questions WHERE id IN ("
        "SELECT id FROM questions INDEXED BY questions_open WHERE answered_at IS NULL "
        "AND (:name IS NULL OR asker = :name OR target = :name) ORDER BY id DESC LIMIT :most) ORDER BY id DESC"
    )
    bounds = {"text": text_bytes, "options": options_bytes, "name": name, "most": most}
    return [_listed(row) for row in connection.execute(query, bounds)]


def _listed(row: tuple[object, ...]) -> Question:
    id, asker, target, question, options, multi, asked_at, expires_at, whole = row
    what = f"question {id}"
    return Question(
        _int(id),
        text(asker, f"the asker of {what}"),
        text(target, f"the target of {what}"),
        beginning(question, bool(whole), what),
        () if options is None else texts(options, f"the options of {what}"),
        bool(multi),
        _int(asked_at),
        None if expires_at is None else _int(expires_at),
        cut=not whole or options is None,
    )


@dataclass(frozen=True, slots=True)
class EndedPage:
    """Questions that have ended, the last one first. `next`: the `before` of the next page; None: no older ones."""

    rows: tuple[Question, ...]
    next: int | None


def ended(
    connection: sqlite3.Connection, name: str | None, before: int | None, most: int, text_bytes: int
) -> EndedPage:
    """Return at most `most` questions that were answered, cancelled or expired, without their options.

    `name`: only those that it asked or was asked. `before`: only those that ended before this one did. Texts are cut to
    `text_bytes`.
    """
    query = (
        "SELECT id, CAST(asker AS BLOB), CAST(target AS BLOB), substr(CAST(question AS BLOB), 1, :text), "
        "length(CAST(question AS BLOB)) <= :text, multi, asked_at, expires_at, answered_at, "
        "substr(CAST(answer AS BLOB), 1, :text), length(CAST(answer AS BLOB)) <= :text, CAST(answerer AS BLOB) "
        "FROM questions WHERE answered_at IS NOT NULL AND (:name IS NULL OR asker = :name OR target = :name) "
        "AND (:before IS NULL OR (answered_at, id) < (SELECT answered_at, id FROM questions WHERE id = :before)) "
        "ORDER BY answered_at DESC, id DESC LIMIT :most"
    )
    bounds = {"text": text_bytes, "name": name, "before": before, "most": most + 1}
    rows = [_ended(row) for row in connection.execute(query, bounds)]
    return EndedPage(tuple(rows[:most]), rows[most - 1].id if len(rows) > most else None)


def _ended(row: tuple[object, ...]) -> Question:
    id, asker, target, question, whole, multi, asked_at, expires_at, answered_at, answer, all_of_it, answerer = row
    what = f"question {id}"
    return Question(
        _int(id),
        text(asker, f"the asker of {what}"),
        text(target, f"the target of {what}"),
        beginning(question, bool(whole), what),
        (),
        bool(multi),
        _int(asked_at),
        None if expires_at is None else _int(expires_at),
        _int(answered_at),
        beginning(answer, bool(all_of_it), f"the answer of {what}"),
        text(answerer, f"the answerer of {what}"),
        cut=not (whole and all_of_it),
    )


def due(connection: sqlite3.Connection, at: int, limit: int) -> list[Question]:
    """Return open questions that have expired, the earliest first."""
    where = "answered_at IS NULL AND expires_at <= ? ORDER BY expires_at, id LIMIT ?"
    return _select(connection, where, (at, limit))


def next_due(connection: sqlite3.Connection, after: int) -> int | None:
    """Return the time at which the next open question expires."""
    query = "SELECT min(expires_at) FROM questions WHERE answered_at IS NULL AND expires_at > ?"
    expires_at = connection.execute(query, (after,)).fetchone()[0]
    return None if expires_at is None else int(expires_at)


def open_size(connection: sqlite3.Connection, asker: str) -> tuple[int, int]:
    """Return how many questions of `asker` are open, and their bytes as they are stored."""
    query = "SELECT count(*), coalesce(sum(size), 0) FROM questions WHERE answered_at IS NULL AND asker = ?"
    count, size = connection.execute(query, (asker,)).fetchone()
    return int(count), int(size)


def count_asked(connection: sqlite3.Connection, target: str) -> int:
    """Return how many questions `target` has to answer."""
    query = "SELECT count(*) FROM questions WHERE answered_at IS NULL AND target = ?"
    return int(connection.execute(query, (target,)).fetchone()[0])


def close(connection: sqlite3.Connection, id: int, answer: str, answerer: str, at: int) -> int | None:
    """Answer, cancel or expire a question that is still open. Return the message that notified its target."""
    row = connection.execute(
        "UPDATE questions SET answer = ?1, answerer = ?2, answered_at = ?3, size = size + length(CAST(?1 AS BLOB)) "
        "WHERE id = ?4 AND answered_at IS NULL RETURNING notice",
        (answer, answerer, at, id),
    ).fetchone()
    if row is None:
        return None
    _prune(connection, id)
    return None if row[0] is None else int(row[0])


def clean(connection: sqlite3.Connection, now: int) -> int:
    """Remove questions answered over DONE_SECONDS before `now`. Return how many."""
    return connection.execute("DELETE FROM questions WHERE answered_at < ?", (now - DONE_SECONDS,)).rowcount


def _prune(connection: sqlite3.Connection, id: int) -> None:
    """Remove the oldest answered questions of this question's asker, beyond the limits."""
    theirs = "asker = (SELECT asker FROM questions WHERE id = ?) AND answered_at IS NOT NULL"
    rows = connection.execute(
        f"SELECT id, size FROM questions WHERE {theirs} ORDER BY answered_at DESC, id DESC",  # noqa: S608 - constant
        (id,),
    )
    total, old = 0, []
    for place, (done, size) in enumerate(rows):
        total += size
        if place >= DONE_KEPT or (total > DONE_BYTES and place):
            old.append((done,))
    connection.executemany("DELETE FROM questions WHERE id = ?", old)


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
    return value if isinstance(value, int) else 0  # the table is STRICT: the column holds integers only
