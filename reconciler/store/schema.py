"""The opening of a database file: pragmas, the check for damage, numbered migrations, the file's uuid."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
import uuid
from functools import cache
from importlib.resources import files
from pathlib import Path

from meta.errors import NewerState, PermanentError
from reconciler.store.connection import damaged

LOG_BYTES = 8 * 2**20
"""Bytes of the write-ahead log that stay after a checkpoint. It is larger only while a reader needs it."""
_NAME = re.compile(r"(\d{4})_[a-z_]+\.sql")


class DamagedDatabase(Exception):
    """The file is not a database, or its check found faults."""


@cache
def migrations() -> tuple[str, ...]:
    """Return the scripts in order: the n-th (from 1) takes a database from version n-1 to n."""
    folder = files("reconciler.store").joinpath("migrations")
    scripts = {}
    for entry in folder.iterdir():
        if match := _NAME.fullmatch(entry.name):
            scripts[int(match[1])] = entry.read_text(encoding="utf-8")
    if sorted(scripts) != list(range(1, len(scripts) + 1)):
        raise PermanentError(f"the migrations are not numbered 1 to {len(scripts)}", "install hive again, completely")
    return tuple(scripts[number] for number in sorted(scripts))


def prepare_writer(path: Path, connection: sqlite3.Connection) -> str:
    """Bring the file up to date and return its uuid. Raise DamagedDatabase, PermanentError or sqlite3.Error."""
    try:
        require_known(path, connection)
        _configure(connection)
        _check(connection)
        migrate(connection)
        connection.execute("PRAGMA synchronous = FULL")
        return _identity(connection)
    except sqlite3.Error as error:
        if damaged(error):
            raise DamagedDatabase(str(error)) from error
        raise


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    connection.execute(
        "PRAGMA synchronous = NORMAL"
    )  # while migrating: a migration that a power cut undoes is run again
    connection.execute("PRAGMA foreign_keys = ON")


def require_known(path: Path, connection: sqlite3.Connection) -> None:
    """Raise NewerState if a newer hive wrote the file. Only read it."""
    version, known = _version(connection), len(migrations())
    if version > known:
        raise NewerState(
            f"{path} was written by a newer hive (its schema is {version}, this hive knows {known}"
            f"{_last_start(connection)}); nothing was changed",
            "install that hive again (NixOS: switch to the host's generation that has it), or put back a database from "
            "before it: `hive restore BACKUP --only database`; docs/howto/upgrade.md has both",
        )


def _last_start(connection: sqlite3.Connection) -> str:
    """Return which hive started last on the file, for a message, or "" if a newer schema keeps that elsewhere."""
    query = "SELECT data ->> '$.revision' FROM events WHERE kind = 'daemon_started' ORDER BY n DESC LIMIT 1"
    with contextlib.suppress(sqlite3.Error):
        if row := connection.execute(query).fetchone():
            return f"; the last that started on it was {row[0]}"
    return ""


def _check(connection: sqlite3.Connection) -> None:
    faults = connection.execute("PRAGMA quick_check(1)").fetchone()
    if faults != ("ok",):
        raise DamagedDatabase(str(faults[0]))


def prepare_reader(connection: sqlite3.Connection) -> None:
    """Configure the connection that only reads."""
    connection.execute("PRAGMA query_only = ON")


def migrate(connection: sqlite3.Connection, upto: int | None = None) -> None:
    """Apply the missing migrations, each in one transaction together with its number."""
    scripts = migrations()[:upto]
    for number in range(_version(connection) + 1, len(scripts) + 1):
        script = scripts[number - 1]
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def move_aside(path: Path) -> Path:
    """Rename a damaged database and its side files to `<name>.corrupt-<time>`. Return the new path."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(target.with_name(target.name + suffix))
    return target


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _identity(connection: sqlite3.Connection) -> str:
    connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES ('uuid', ?)", (uuid.uuid4().hex,))
    return str(connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()[0])
