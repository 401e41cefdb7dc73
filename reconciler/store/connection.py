"""One SQLite connection in a thread of its own, and the translation of SQLite's errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar, cast

import aiosqlite
from typing_extensions import override

from meta.errors import DiskFull, HiveError, PermanentError, TransientError

T = TypeVar("T")

Transaction = sqlite3.Connection
"""A connection with an open transaction, for callers that combine functions of the store in one."""

BUSY_TIMEOUT = 5.0
"""Seconds to wait for a lock that another program (a backup, a shell) holds on the file."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_ACCESS = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PASSING = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL})


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that runs whole functions, instead of single statements, in its thread."""

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call `function` with the connection, in the connection's thread.

        A cancelled caller does not stop a function that was already queued.
        """
        result = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]
        return cast(T, result)

    @override
    async def close(self) -> None:
        """Close the file and wait for the thread to end: aiosqlite answers just before that."""
        try:
            await super().close()
        finally:
            self._thread.join(timeout=BUSY_TIMEOUT)


async def connect(path: Path) -> Connection:
    """Open `path` (created if missing) in a new thread. The caller closes it. Raise sqlite3.Error."""

    def connector() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, cached_statements=256)

    connection = Connection(connector, iter_chunk_size=64)
    await connection
    return connection


def damaged(error: sqlite3.Error) -> bool:
    """Return True if the error means that the file is not a sound database."""
    return _primary(error) in _DAMAGED


class translated:
    """Raise SQLite's errors about the file at `path` as hive's errors. Errors in hive's own SQL are not translated.

    It is a class because it wraps every write: a generator would cost several times as much.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error) and (known := _meaning(error, self._path)) is not None:
            raise known from error


def _meaning(error: sqlite3.Error, path: Path) -> HiveError | None:
    code = _primary(error)
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(
            f"the disk is full: {path} cannot grow",
            "free some space (`hive status` names who holds the most); nothing was written in part",
        )
    if code in _BUSY:
        return TransientError(f"{path} is locked by another program", "end the program that has the database open")
    if code in _PASSING:
        return TransientError(f"{path} cannot be read or written: {error}", "check the disk and the kernel's log")
    if code in _NO_ACCESS:
        return PermanentError(f"cannot open {path}: {error}", "check that hive's user may write it and its directory")
    if code in _DAMAGED:
        return PermanentError(
            f"the database {path} is damaged: {error}",
            "restart the daemon: it moves the file aside and rebuilds the cards from the tags",
        )
    return None


def _primary(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # absent on errors made by the module itself
    return code & 0xFF
