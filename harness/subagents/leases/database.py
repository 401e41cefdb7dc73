"""The file of the allocation table: SQLite, opened for one change at a time, so that it can be set aside in between.

A table is worth nothing after a restart of the machine, and little without its processes. So a file that is not
exactly hive's is set aside, and the table begins empty; it is never read in part.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.events.database import Unavailable, translated
from harness.events.database import set_aside as rename_damaged
from harness.subagents.leases.table import TABLE_LIMIT, Allocation, State, Table
from meta.errors import BadInput
from meta.process.disk import FULL
from meta.process.identity import ProcessIdentity
from meta.scope.rules import Rule, Scope
from meta.wire.common import Wire
from meta.wire.pod import ScopeRule

BUSY_SECONDS = 5.0
"""Seconds to wait for another process that changes the table."""
FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of the file. A table that hive writes is a few KiB."""

_SCHEMA = """CREATE TABLE leases (
    pod TEXT PRIMARY KEY, parent TEXT, origin TEXT, state TEXT NOT NULL, adopted INTEGER NOT NULL, pid INTEGER NOT NULL,
    start_time INTEGER NOT NULL, boot_id TEXT NOT NULL, socket TEXT NOT NULL, scope TEXT NOT NULL
) STRICT"""
_PRAGMAS = (
    "PRAGMA journal_mode = PERSIST",  # not WAL, which reads nothing on a full disk; a journal that stays needs no space
    "PRAGMA trusted_schema = OFF",
)
_INSERT = "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO})
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Rules(Wire):
    allow: tuple[ScopeRule, ...]
    deny: tuple[ScopeRule, ...]


_RULES: TypeAdapter[_Rules] = TypeAdapter(_Rules)


def change(path: Path, decide: Callable[[Table], Table]) -> Table:
    """Read the table, decide, and write what is decided, in one transaction; return it.

    An error of `decide` leaves the file as it is. Raise Unavailable: `damaged` if the file is to be set aside.
    """
    _make_private(path)
    with translated():
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        with translated():
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            connection.execute("BEGIN IMMEDIATE")
            table = _read(connection)
        decided = decide(table)
        with translated():
            if decided != table:
                connection.execute("DELETE FROM leases")
                connection.executemany(_INSERT, map(_row, decided.allocations))
            connection.execute("COMMIT")
        return decided
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.close()  # rolls back what is not committed


def set_aside(path: Path, seconds: int) -> Path:
    """Rename a damaged file as `harness.events.database.set_aside` does, and remove the journal that belongs to it."""
    aside = rename_damaged(path, seconds)
    with translated():
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    return aside


def is_full(error: BaseException) -> bool:
    """Return True if an error, or the one that it was raised from, is that of a full disk or quota."""
    chain = (error, error.__cause__)
    return any(
        getattr(each, "errno", None) in FULL or getattr(each, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        for each in chain
    )


def _make_private(path: Path) -> None:
    """Make the file if it is missing, for its owner alone. What is no file of that kind counts as damaged."""
    with translated():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, _OPEN, 0o600)
    except OSError as error:
        raise Unavailable(error.strerror or str(error), damaged=error.errno in _UNREADABLE) from error
    with translated():
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_LIMIT:
                raise Unavailable("it is no file of hive's", damaged=True)
            if stat.S_IMODE(status.st_mode) != 0o600:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def _read(connection: sqlite3.Connection) -> Table:
    schema = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL LIMIT 2").fetchall()
    if not schema:
        connection.execute(_SCHEMA)
    elif schema != [(_SCHEMA,)]:  # a view or a trigger could run anything
        raise Unavailable("its schema is not hive's", damaged=True)
    rows = connection.execute("SELECT * FROM leases ORDER BY rowid LIMIT ?", (TABLE_LIMIT + 1,)).fetchall()
    try:
        if len(rows) > TABLE_LIMIT:
            raise Unavailable("it has too many rows", damaged=True)
        return Table(tuple(map(_allocation, rows)))
    except (BadInput, ValueError, TypeError) as error:
        raise Unavailable(f"a row cannot be read: {error}", damaged=True) from error


def _row(each: Allocation) -> tuple[str | int | None, ...]:
    rules = _Rules(
        allow=tuple(rule.wire() for rule in each.scope.allow), deny=tuple(rule.wire() for rule in each.scope.deny)
    )
    owner = (each.owner.pid, each.owner.start_time, each.owner.boot_id)
    return (each.pod, each.parent, each.origin, each.state, each.adopted, *owner, each.socket, rules.model_dump_json())


def _allocation(row: Sequence[Any]) -> Allocation:
    pod, parent, origin, state, adopted, pid, start_time, boot_id, socket, scope = row
    rules = _RULES.validate_json(scope)
    return Allocation(
        pod,
        ProcessIdentity(pid, start_time, boot_id),
        socket,
        Scope(tuple(map(_rule, rules.allow)), tuple(map(_rule, rules.deny))),
        parent,
        State(state),
        bool(adopted),
        origin,
    )


def _rule(rule: ScopeRule) -> Rule:
    return Rule(rule.target, rule.permission, rule.recursive)
