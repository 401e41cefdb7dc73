"""The event log of the harness: a thread writes the rows to the file, and a reader gets them back by id.

The event loop never waits for the disk. Rows wait in memory until they are written. While the file cannot be used,
because the disk is full, say, the newest rows stay in memory, and the thread tries again at intervals.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from harness.events.database import HISTORY, Database, RawRow, Row, Unavailable, set_aside
from harness.events.encoding import encode_bounded, is_plain
from meta.errors import BadInput
from meta.wire.live import decode_event

log = logging.getLogger(__name__)

WAITING = 4 * HISTORY
"""Rows that wait in memory at most."""
WAITING_BYTES = 8 * 1024 * 1024
LINGER = 0.03
"""Seconds that the thread collects rows for one transaction."""
RETRY_SECONDS = (1.0, 60.0)
"""Seconds until the file is tried again: after the first failure, and at most."""
UNREADABLE_MOST = 10_000
"""Rows that are counted as unreadable, at most."""
SWEEP_ROWS = 500
"""Rows that are written between two sweeps."""
CLOSE_SECONDS = 2.0


class EventStore:
    """The log at `path`. It can always be used: without the file it keeps the newest rows in memory.

    `log` is its name and `last` the newest id. `lost` counts the rows that were not written.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._file = threading.Lock()
        """Held while the database is used."""
        self._guard = threading.Lock()
        """Guards all that follows. Taken by itself: a Condition takes it more slowly."""
        self._changed = threading.Condition(self._guard)
        self._waiting: deque[Row] = deque()
        self._waiting_bytes = 0
        self._gap: Row | None = None
        self._missing = 0
        self._closing = False
        self.lost = 0
        self._unreadable: set[int] = set()
        self.trouble = ""
        """Why the file cannot be used; "" while it can."""
        self.log = secrets.token_hex(8)
        self.last = int(clock() * 1000)
        self._first = self.last + 1
        self._began = self.last
        self._named = False
        self._database: Database | None = None
        with self._file:
            self._open()
            self._named = True
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def unreadable(self) -> int:
        """Return how many rows were read that are no events. A row that is read again counts once."""
        return len(self._unreadable)

    def append(self, ts: int, kind: str, text: str, *, keep: bool = True) -> Row:
        """Take an event and return its row. With `keep` it is written soon. This neither waits nor raises."""
        with self._guard:
            self.last += 1
            row = Row(self.last, ts, kind, text)
            if not keep:
                return row
            self._waiting.append(row)
            self._waiting_bytes += len(text)
            while len(self._waiting) > WAITING or self._waiting_bytes > WAITING_BYTES:
                self._lose(self._waiting.popleft())
            if len(self._waiting) == 1:
                self._changed.notify()
        return row

    def read(self, after: int, limit: int) -> list[Row]:
        """Return at most `limit` rows of this log after the id, oldest first. It waits for the disk."""
        with self._file:
            last = self.last  # a row beyond it is another program's, and would hide all that come
            written = self._query(lambda database: database.after(after, last, limit))
            end = written[-1][0] if written else after
            waiting = self._after(end) if len(written) < limit else []
        return [*map(self._row, written), *waiting][:limit]

    def _after(self, id: int) -> list[Row]:
        with self._changed:
            return [row for row in self._waiting if row.id > id]

    def close(self) -> None:
        """Write what waits, for at most CLOSE_SECONDS, and close the file."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)

    # the thread
    def _run(self) -> None:
        pause, since_sweep = RETRY_SECONDS[0], SWEEP_ROWS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._closing:
                    self._changed.wait_for(lambda: self._closing, LINGER)
                if self._closing and not self._waiting:
                    break
            written = self._try_write()
            since_sweep += written
            if written:
                pause = RETRY_SECONDS[0]
                since_sweep = self._sweep() if since_sweep >= SWEEP_ROWS else since_sweep
                continue
            with self._changed:
                closing = self._closing or self._changed.wait_for(lambda: self._closing, pause)
            if closing:
                self._try_write()
                break
            pause = min(2 * pause, RETRY_SECONDS[1])
        with self._file:
            self._shut()

    def _try_write(self) -> int:
        try:
            return self._write()
        except Exception as error:  # noqa: BLE001 - the thread must go on
            self._report(Unavailable(f"{type(error).__name__}: {error}"))
            return 0

    def _write(self) -> int:
        """Write what waits; return the number of rows, or 0 if the file cannot be used now."""
        with self._file:
            database = self._database or self._open()
            if database is None:
                return 0
            with self._changed:
                rows, gap = list(self._waiting), self._gap
            try:
                database.insert([gap, *rows] if gap is not None else rows)
            except Unavailable as error:
                self._fail(error)
                return 0
            with self._changed:
                if self._gap is gap:
                    self._gap, self._missing = None, 0
                while self._waiting and self._waiting[0].id <= rows[-1].id:
                    self._waiting_bytes -= len(self._waiting.popleft().text)
            if self.trouble:
                log.warning("the event log %s is written again; %d events are missing in it", self._path, self.lost)
                self.trouble = ""
        return len(rows)

    def _sweep(self) -> int:
        with self._file:
            try:
                if self._database is not None:
                    self._database.sweep()
            except Unavailable as error:
                log.info("the event log %s cannot be shortened now: %s", self._path, error)
        return 0

    # with `_file` held
    def _open(self) -> Database | None:
        try:
            try:
                self._database = self._opened()
            except Unavailable as error:
                if not error.damaged:
                    raise
                self._set_aside(error)
                self._database = self._opened()
        except Unavailable as error:
            self._report(error)
        return self._database

    def _opened(self) -> Database:
        """Open the file. It goes on with its own log, or with this one if this one began without it."""
        database = Database(self._path)
        if not self._named:
            with self._changed:
                self.log, self._first, self.last = database.log, database.first, max(self.last, database.last)
                self._began = self.last
            return database
        try:
            if database.log != self.log:
                if database.last >= self._first:
                    raise Unavailable("its ids are newer than those of this log", damaged=True)
                database.rename(self.log, self._first)
        except Unavailable:
            database.close()
            raise
        return database

    def _set_aside(self, error: Unavailable) -> None:
        aside = set_aside(self._path, int(self._clock()))
        log.warning("the event log %s is damaged (%s); it is now %s", self._path, error, aside.name)

    def _query(self, query: Callable[[Database], list[RawRow]]) -> list[RawRow]:
        database = self._database or self._open()
        if database is None:
            return []
        try:
            return query(database)
        except Unavailable as error:
            self._fail(error)
            return []

    def _fail(self, error: Unavailable) -> None:
        """Close the file. A damaged one is set aside and begun anew."""
        self._shut()
        try:
            if error.damaged:
                self._set_aside(error)
                self._open()
            else:
                self._report(error)
        except Unavailable as another:
            self._report(another)

    def _report(self, error: Unavailable) -> None:
        if not self.trouble:
            log.warning("the event log %s cannot be used, so there is no history: %s", self._path, error)
        self.trouble = str(error)

    def _shut(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _lose(self, row: Row) -> None:
        """Drop a row. A note in its place says how many are missing."""
        self._waiting_bytes -= len(row.text)
        self.lost += 1
        self._missing += 1
        self._gap = _note(row.id, row.ts, f"{self._missing} events before the next one were not written to the log")

    def _row(self, raw: RawRow) -> Row:
        """Return a row of the file. One that is no event is counted, and a note stands in its place."""
        id, ts, kind, text = raw
        seconds = ts if isinstance(ts, int) and 0 <= ts <= LATEST else 0
        try:
            if not isinstance(text, str) or not isinstance(kind, str):
                raise BadInput("not text", "")
            if id > self._began and "\n" not in text:  # written by this process
                return Row(id, seconds, kind, text)
            event = decode_event(text)
            text = text if is_plain(text) else encode_bounded(event)
        except BadInput:
            if len(self._unreadable) < UNREADABLE_MOST:
                self._unreadable.add(id)
            return _note(id, seconds, f"this row of the event log cannot be read (kind {str(kind)[:40]!r})")
        return Row(id, seconds, kind, text)


LATEST = 10**11
"""The latest time in Unix seconds that the link carries."""


def _note(id: int, ts: int, text: str) -> Row:
    return Row(id, ts, "note", json.dumps({"kind": "note", "text": text}, separators=(",", ":")))
