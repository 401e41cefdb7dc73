"""The file of the event log: SQLite, with the table and the index of seed 003 (003_fe4466ef9b603b85.txt) as they are.

The table `hyperhive_log` beside it is hive's own. It has one row: the name of the log, and the first id of that name.
Rows before it are of a log whose name was not known when this one began. Ids only grow. A start of the harness begins
at the time in milliseconds, so that a restored or shortened file never gives an id twice.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HISTORY = 2000
"""Rows that the log keeps."""
HISTORY_BYTES = 32 * 1024 * 1024
"""Bytes of events that it keeps at most."""
ROW_BYTES = 256 * 1024
"""The longest row that is read. hive writes none that is longer."""
SET_ASIDE = 2
"""Damaged files that are kept."""
BUSY_SECONDS = 1.0
"""Seconds to wait for another program that has the file locked."""
LARGEST_ID = 2**52
"""A file with larger ids is not hive's. The link carries ids to 2**53, so this log can go on from here."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    ts           INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    payload_json TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_events_ts ON events (ts);
CREATE TABLE IF NOT EXISTS hyperhive_log (
    name  TEXT NOT NULL,
    first INTEGER NOT NULL
);
"""
STATEMENT_ROWS = 512
"""Rows of one statement at most. Each statement waits for the interpreter's lock, which a busy loop gives up rarely."""
_INSERT = "INSERT OR IGNORE INTO events (id, ts, kind, payload_json) VALUES "
_COLUMNS = ("id", "ts", "kind", "payload_json")
_ROWS = """
SELECT json_group_array(json_array(
    id,
    iif(typeof(ts) = 'integer', ts, NULL),
    iif(typeof(kind) = 'text' AND length(kind) <= 100, kind, NULL),
    iif(typeof(payload_json) = 'text' AND length(CAST(payload_json AS BLOB)) <= ?, payload_json, NULL)
)) FROM (SELECT * FROM events WHERE id > ? AND id <= ? ORDER BY id LIMIT ?)
"""
"""Rows as one JSON text: a thread that steps from row to row would wait for the interpreter's lock at each."""
_EXCESS = """
SELECT max(id) FROM (
    SELECT id, row_number() OVER newest AS count, sum(length(CAST(payload_json AS BLOB))) OVER newest AS size
    FROM events WINDOW newest AS (ORDER BY id DESC)
) WHERE count > ? OR size > ?
"""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH})


class Row(NamedTuple):
    """One event of the log: its id, its time in Unix seconds, its kind, and its JSON text."""

    id: int
    ts: int
    kind: str
    text: str


RawRow = tuple[int, object, object, object]
"""A row as the file has it: nothing of it is checked but the id."""


class Unavailable(Exception):
    """The file cannot be used now. `damaged`: it is no sound event log."""

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


class Database:
    """The open file. For one thread at a time. Every method raises Unavailable."""

    def __init__(self, path: Path) -> None:
        with translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(path.stat().st_mode):
                    raise Unavailable("it is no file", damaged=True)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with translated():
                self._prepare()
        except Unavailable:
            self.close()
            raise

    def _prepare(self) -> None:
        connection = self._connection
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; `sweep` converts an older one
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 1048576")
        connection.executescript(SCHEMA)
        columns = tuple(column[1] for column in connection.execute("PRAGMA table_info(events)"))
        if columns != _COLUMNS:
            raise Unavailable("its table has other columns", damaged=True)
        with self._transaction():
            named = connection.execute("SELECT name, first FROM hyperhive_log").fetchone()
            if named is None:
                named = (secrets.token_hex(8), 1)
                connection.execute("INSERT INTO hyperhive_log VALUES (?, ?)", named)
        self.log, self.first = str(named[0]), int(named[1])
        self.last: int = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
        if self.last >= LARGEST_ID or not self.log.isalnum() or len(self.log) > 64:
            raise Unavailable("its ids or its name are not hive's", damaged=True)

    def rename(self, log: str, first: int) -> None:
        """Go on as the log `log`, whose ids begin with `first`."""
        with translated(), self._transaction():
            self._connection.execute("UPDATE hyperhive_log SET name = ?, first = ?", (log, first))
        self.log, self.first = log, first

    def insert(self, rows: Sequence[Row]) -> None:
        """Write the rows, all or none. A row whose id is there is written already."""
        with translated(), self._transaction():
            start = 0
            while start < len(rows):
                count = min(STATEMENT_ROWS, 1 << (len(rows) - start).bit_length() - 1)  # few sizes, few statements
                values = [value for row in rows[start : start + count] for value in row]
                self._connection.execute(_INSERT + ", ".join(["(?, ?, ?, ?)"] * count), values)
                start += count

    def after(self, id: int, last: int, limit: int) -> list[RawRow]:
        """Return at most `limit` rows of this log after the id and up to `last`, oldest first. Nothing is checked."""
        with translated():
            after = max(id, self.first - 1)
            (text,) = self._connection.execute(_ROWS, (ROW_BYTES, after, last, limit)).fetchone()
            return [tuple(row) for row in json.loads(text)]

    def sweep(self) -> None:
        """Delete the rows beyond HISTORY and HISTORY_BYTES, and give their space back to the disk."""
        with translated():
            (excess,) = self._connection.execute(_EXCESS, (HISTORY, HISTORY_BYTES)).fetchone()
            self._connection.execute("DELETE FROM events WHERE id <= ?", (excess,))
            if self._pragma("auto_vacuum") == 2:
                self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` frees one page
            else:
                self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                self._connection.execute("VACUUM")

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def set_aside(path: Path, seconds: int) -> Path:
    """Rename a damaged file to `<name>.damaged-<seconds>` and return that path. Only SET_ASIDE of them are kept."""
    aside = path.with_name(f"{path.name}.damaged-{seconds}")
    with translated():
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        for old in sorted(path.parent.glob(f"{path.name}.damaged-*"))[:-SET_ASIDE]:
            if old.is_file() or old.is_symlink():
                old.unlink(missing_ok=True)
    return aside


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise Unavailable for what SQLite or the disk raises in the block."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        raise Unavailable(str(error), damaged=code in _DAMAGED) from error
    except OSError as error:
        raise Unavailable(error.strerror or str(error)) from error
