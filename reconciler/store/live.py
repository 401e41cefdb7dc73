"""The copy of the agents' live events, in a file of its own: `live.sqlite`.

It authorises nothing and may be lost. So it is written without fsync, in batches, in a thread, and it is in no backup.
A damaged file is removed and begun anew. While the file cannot be used, the newest rows stay in memory, and a note
stands in the place of those that did not fit (as in harness/events/store.py, which keeps one agent's own log so).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from meta.names import AgentName
from reconciler.store.live_queue import LiveQueue, LiveRow

logger = logging.getLogger(__name__)

T = TypeVar("T")

AGENT_ROWS = 2_000
AGENT_BYTES = 4 * 2**20
"""What is kept of one agent's events."""
SLACK = 1.1
"""An agent may exceed its share by this factor until its oldest rows are deleted."""
LINGER = 0.03
"""Seconds that the thread collects rows for one transaction."""
RETRY_SECONDS = 5.0
"""Seconds until a file that could not be used is tried again."""
CLOSE_SECONDS = 5.0
STATEMENT_ROWS = 512
"""Rows of one statement at most."""
BUSY_SECONDS = 1.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq   INTEGER PRIMARY KEY,
    agent TEXT NOT NULL,
    log   TEXT NOT NULL,
    id    INTEGER NOT NULL,
    ts    INTEGER NOT NULL,
    text  TEXT NOT NULL,
    UNIQUE (agent, log, id)
) STRICT;
CREATE INDEX IF NOT EXISTS by_agent ON events (agent, seq);
"""
_ROWS = """
SELECT json_group_array(json_array(seq, agent, log, id, ts, text)) FROM (SELECT * FROM events {})
"""
"""Rows as one JSON text: a thread that steps from row to row would wait for the interpreter's lock at each."""
_EXCESS = """
SELECT max(seq) FROM (
    SELECT seq, row_number() OVER newest AS count, sum(length(text)) OVER newest AS size
    FROM events WHERE agent = ? WINDOW newest AS (ORDER BY seq DESC)
) WHERE count > ? OR size > ?
"""
_INSERT = "INSERT OR IGNORE INTO events VALUES "
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})


@dataclass(slots=True)
class _Share:
    """What the file has of one agent."""

    rows: int = 0
    bytes: int = 0

    @property
    def full(self) -> bool:
        return self.rows > AGENT_ROWS * SLACK or self.bytes > AGENT_BYTES * SLACK


class LiveStore:
    """The copy at `path`. It can always be used: without the file it keeps the newest rows in memory.

    `append` and `forget` do not wait for the disk; the other methods do, so they are called in a thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = threading.Lock()
        """Held while the database is used."""
        self._changed = threading.Condition()
        """Guards what waits."""
        self._waiting = LiveQueue()
        self._forgotten: dict[AgentName, int] = {}
        self._closing = False
        self._shares: dict[str, _Share] = {}
        self._database: sqlite3.Connection | None = None
        self._seq = int(time.time() * 1000)  # greater than all in the file, also if it cannot be opened yet
        self.trouble = ""
        """Why the file cannot be used; "" while it can."""
        with self._file:
            self._open()
        self._thread = threading.Thread(target=self._run, name="live events", daemon=True)
        self._thread.start()

    @property
    def last(self) -> int:
        """Return the `seq` of the newest row of all agents."""
        return self._seq

    def append(self, agent: AgentName, log: str, id: int, ts: int, text: str, *, keep: bool = True) -> LiveRow:
        """Take an event and return its row. With `keep` it is written soon."""
        with self._changed:
            self._seq += 1
            row = LiveRow(self._seq, agent, log, id, ts, text)
            if not keep:
                return row
            self._waiting.append(row)
            if len(self._waiting) == 1:
                self._changed.notify()
        return row

    def forget(self, agent: AgentName) -> None:
        """Remove the agent's events, soon."""
        with self._changed:
            self._forgotten[agent] = self._seq
            self._waiting.forget(agent)
            self._changed.notify()

    def flush(self) -> None:
        """Write what waits, and remove what is forgotten, if the file can be used."""
        self._write()

    def newest(self, agent: AgentName, limit: int) -> list[LiveRow]:
        """Return the agent's newest rows, oldest first."""
        query = "WHERE agent = ? ORDER BY seq DESC LIMIT ?"
        return self._rows(agent, query, (agent, limit), 0)[-limit:] if limit > 0 else []

    def after(self, agent: AgentName, seq: int, limit: int) -> list[LiveRow]:
        """Return at most `limit` rows of the agent after `seq`, oldest first."""
        query = "WHERE agent = ? AND seq > ? ORDER BY seq LIMIT ?"
        return self._rows(agent, query, (agent, seq, limit), seq)[:limit]

    def find(self, agent: AgentName, log: str, id: int) -> int | None:
        """Return the `seq` of an event, or if it was not kept of the one before it; None if that is not there."""
        query = "WHERE agent = ? AND log = ? AND id <= ? ORDER BY id DESC LIMIT 1"
        rows = self._rows(agent, query, (agent, log, id), 0)
        return max((row.seq for row in rows if row.log == log and row.id <= id), default=None)

    def positions(self) -> dict[AgentName, dict[str, int]]:
        """Return the newest id of each log of each agent, the oldest log first."""

        def read(database: sqlite3.Connection) -> list[tuple[AgentName, str, int]]:
            query = "SELECT agent, log, max(id) FROM events GROUP BY agent, log ORDER BY max(seq)"
            return database.execute(query).fetchall()

        found: dict[AgentName, dict[str, int]] = {}
        with self._file:
            for agent, log, id in self._use(read) or []:
                found.setdefault(agent, {})[log] = id
        return found

    def close(self) -> None:
        """Write what waits, and close the file."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)

    def _rows(self, agent: AgentName, query: str, values: tuple[object, ...], after: int) -> list[LiveRow]:
        """Return the rows of a query, sorted, and after them those of the agent that wait to be written."""
        with self._file:
            found = self._use(lambda database: database.execute(_ROWS.format(query), values).fetchone())
            with self._changed:
                waiting = [row for row in self._waiting.of(agent) if row.seq > after]
                forgotten = agent in self._forgotten
        rows = [LiveRow(*row) for row in json.loads(found[0])] if found and not forgotten else []
        first = waiting[0].seq if waiting else self._seq + 1
        return [*(row for row in sorted(rows) if row.seq < first), *waiting]

    # the thread
    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._forgotten or self._closing)
                if not self._closing:
                    self._changed.wait_for(lambda: self._closing, LINGER)
                if self._closing and not (self._waiting or self._forgotten):
                    break
            if not self._write():
                with self._changed:
                    if self._changed.wait_for(lambda: self._closing, RETRY_SECONDS):
                        break
        with self._file:
            self._shut()

    def _write(self) -> bool:
        """Write what waits. Return False if the file cannot be used now."""
        with self._file:
            if self._database is None:
                self._open()
            with self._changed:
                rows, forgotten = self._waiting.all(), dict(self._forgotten)
            if self._use(lambda database: self._store(database, rows, forgotten)) is None:
                return False
            with self._changed:
                for agent in [name for name, seq in forgotten.items() if self._forgotten.get(name) == seq]:
                    del self._forgotten[agent]
                if rows:
                    self._waiting.drop_until(rows[-1].seq)
            if self.trouble:
                logger.warning("%s is written again", self._path)
                self.trouble = ""
        return True

    # with `_file` held
    def _store(self, database: sqlite3.Connection, rows: list[LiveRow], forgotten: dict[AgentName, int]) -> bool:
        with _transaction(database):
            for agent, seq in forgotten.items():
                database.execute("DELETE FROM events WHERE agent = ? AND seq <= ?", (agent, seq))
            _insert(database, rows)
        for agent in forgotten:
            self._shares.pop(agent, None)
        for row in rows:
            share = self._shares.setdefault(row.agent, _Share())
            share.rows += 1
            share.bytes += len(row.text)
        for name, share in self._shares.items():
            if share.full:
                _prune(database, name, share)
        if forgotten:
            database.executescript("PRAGMA incremental_vacuum")
        return True

    def _use(self, use: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the result of `use`; None if the file cannot be used. A damaged file is begun anew."""
        if self._database is None:
            return None
        try:
            return use(self._database)
        except sqlite3.Error as error:
            self._shut()
            self._handle(error)
            return None

    def _open(self) -> None:
        try:
            self._database = self._connect()
        except (sqlite3.Error, OSError) as error:
            self._handle(error)

    def _handle(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
        if code in _DAMAGED:
            logger.warning("%s is damaged (%s) and begun anew: older live events are gone", self._path, error)
            try:
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                self._database = self._connect()
                return
            except (sqlite3.Error, OSError) as another:
                error = another
        if not self.trouble:
            logger.warning("%s cannot be used, so new live events stay in memory: %s", self._path, error)
        self.trouble = str(error) or type(error).__name__

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        database = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = OFF"):
                database.execute(f"PRAGMA {pragma}")
            database.execute("PRAGMA journal_size_limit = 4194304")
            database.executescript(_SCHEMA)
            (last,) = database.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
            shares = database.execute("SELECT agent, count(*), sum(length(text)) FROM events GROUP BY agent").fetchall()
        except BaseException:
            database.close()
            raise
        self._shares = {agent: _Share(rows, size) for agent, rows, size in shares}
        with self._changed:
            self._seq = max(self._seq, last)
        return database

    def _shut(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None


def _insert(database: sqlite3.Connection, rows: list[LiveRow]) -> None:
    """Write the rows. Each statement waits for the interpreter's lock, which a busy loop gives up rarely: make few."""
    start = 0
    while start < len(rows):
        count = min(STATEMENT_ROWS, 1 << (len(rows) - start).bit_length() - 1)  # few sizes, so few statements to parse
        values = [value for row in rows[start : start + count] for value in row]
        database.execute(_INSERT + ", ".join(["(?, ?, ?, ?, ?, ?)"] * count), values)
        start += count


def _prune(database: sqlite3.Connection, agent: str, share: _Share) -> None:
    """Delete the oldest rows of an agent until it has its share."""
    (excess,) = database.execute(_EXCESS, (agent, AGENT_ROWS, AGENT_BYTES)).fetchone()
    database.execute("DELETE FROM events WHERE agent = ? AND seq <= ?", (agent, excess))
    count = "SELECT count(*), coalesce(sum(length(text)), 0) FROM events WHERE agent = ?"
    share.rows, share.bytes = database.execute(count, (agent,)).fetchone()


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
