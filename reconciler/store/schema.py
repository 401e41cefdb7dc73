"""The opening of a database file: pragmas, the check for damage, numbered migrations, the file's uuid."""

from __future__ import annotations

import re
import sqlite3
import time
import uuid
from functools import cache
from importlib.resources import files
from pathlib import Path

from meta.errors import PermanentError
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
        _configure(connection)
        _check(path, connection)
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


def _check(path: Path, connection: sqlite3.Connection) -> None:
    version = _version(connection)
    known = len(migrations())
    if version > known:
        raise PermanentError(
            f"{path} was written by a newer hive (its schema is {version}, this hive knows {known})",
            "install that hive again, or move the file away: cards come back from the tags, messages do not",
        )
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
