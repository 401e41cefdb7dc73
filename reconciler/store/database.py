"""The database: one writer with group commit, one reader, whole transactions as functions.

`synchronous=FULL` costs an fsync per commit. Writes that wait during a commit go into the next one together, so that
many callers share one fsync. The failure of one write does not concern the others (see batch.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from meta.errors import HiveError, PermanentError, TransientError
from meta.text import size
from reconciler.store.batch import Job, Pending, run_batch
from reconciler.store.connection import BUSY_TIMEOUT, Connection, connect, translated
from reconciler.store.schema import LOG_BYTES, DamagedDatabase, move_aside, prepare_reader, prepare_writer

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHECKPOINT = 300.0
"""Seconds between two looks at the size of the write-ahead log."""
LONG_LOG = 64 * 2**20
BATCH_LIMIT = 512
"""Functions in one commit, at most. The first of them waits for the last."""


class Database:
    """An open database. `async with await Database.open(path) as db: ...`

    `uuid` is random and made with the file. `created`: the file is new. `set_aside` is the path to which a damaged file
    was moved. Then `created` is True too, and the caller rebuilds what it can.
    """

    def __init__(
        self,
        path: Path,
        uuid: str,
        writer: Connection,
        reader: Connection,
        *,
        created: bool,
        set_aside: Path | None = None,
    ) -> None:
        self.path = path
        self.uuid = uuid
        self.created = created
        self.set_aside = set_aside
        self._writer = writer
        self._reader = reader
        self._waiting: deque[Pending] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[], None]] = []
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open or create the database at `path` (mode 0600; its directory must exist), and migrate it.

        Raise PermanentError (written by a newer hive; no access) or TransientError (disk full, locked).
        """
        created = _make_file(path)
        try:
            with translated(path):
                return await cls._open(path, created)
        except DamagedDatabase as error:
            fault = str(error)
        moved = move_aside(path)
        logger.error(
            "the database %s is damaged (%s); it was moved to %s, and a new one is created", path, fault, moved
        )
        _make_file(path)
        with translated(path):
            return await cls._open(path, True, moved)

    @classmethod
    async def _open(cls, path: Path, created: bool, set_aside: Path | None = None) -> Database:
        writer = await connect(path)
        try:
            uuid = await writer.run(partial(prepare_writer, path))
            reader = await connect(path)
        except BaseException:
            await writer.close()
            raise
        database = cls(path, uuid, writer, reader, created=created, set_aside=set_aside)
        try:
            await reader.run(prepare_reader)
        except BaseException:
            await database.close()
            raise
        return database

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Commit the writes that were requested, then end both threads. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._flusher is not None:
            await asyncio.wait({self._flusher})  # unlike `await`, does not cancel it when we are cancelled
        try:
            await self._reader.close()
        finally:
            await self._writer.close()  # last, so that it checkpoints and removes the write-ahead log

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` as one transaction in the writer's thread. Return its result after COMMIT (fsync included).

        `work` must have no effect outside the database: it is run again if another write of the same commit fails, or
        the commit as a whole. An error of `work` is raised here, with its changes rolled back. A cancelled caller does
        not stop a transaction that has begun; one that has not begun is dropped. Raise TransientError if the disk is
        full, the file is locked, or the database is closed.
        """
        with translated(self.path):
            return await self.submit(work)

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue a write as `write` does, and return at once. Writes run in the order of the calls.

        The future has SQLite's errors as they are (see `translated`). Cancelling it drops a transaction that has not
        begun.
        """
        self._check_open()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(Job(work, answer))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush(), name="store-writer")
        return answer

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on the second connection, in one snapshot.

        The snapshot includes every write that was answered before.
        """
        self._check_open()
        with translated(self.path):
            return await self._reader.run(partial(_in_snapshot, query))

    async def checkpoint(self) -> int:
        """Move the write-ahead log into the database and cut it to LOG_BYTES. Return its bytes afterwards.

        SQLite does so by itself at a commit, but not while another program reads, and not once that ends if nothing is
        written. Raise TransientError as `read` does.
        """
        log_file = self.path.with_name(f"{self.path.name}-wal")
        if _size(log_file) > LOG_BYTES:
            self._check_open()
            with translated(self.path):
                await self._writer.run(_checkpoint)
        return _size(log_file)

    async def keep_log_short(self) -> None:
        """Checkpoint at intervals, until cancelled. Name a log that another program keeps from becoming shorter."""
        while True:
            await asyncio.sleep(CHECKPOINT)
            try:
                left = await self.checkpoint()
            except HiveError as error:
                logger.warning("the write-ahead log stays as it is for now: %s", error)
                continue
            if left > LONG_LOG:
                logger.warning("another program reads %s, so that its write-ahead log grows: %s", self.path, size(left))

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the loop after each commit that changed something.

        Return a function that removes the listener.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _flush(self) -> None:
        """Commit batch after batch until no write waits. Only one such task exists at a time."""
        batch: list[Pending] = []
        try:
            while batch := self._next_batch():
                try:
                    changed = await self._writer.run(partial(run_batch, batch))
                except Exception as error:
                    logger.exception("a commit failed as a whole, and so do its %d writes", len(batch))
                    _fail(batch, error)
                    continue
                for job in batch:
                    job.settle()
                if changed:
                    self._notify()
        finally:
            self._flusher = None
            for job in (*batch, *self._waiting):  # only if this task was itself cancelled: their callers must not wait
                job.abandon()
            self._waiting.clear()

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:  # the error of one listener does not concern the waiting writes
                logger.exception("a listener of the database failed")

    def _next_batch(self) -> list[Pending]:
        batch: list[Pending] = []
        while self._waiting and len(batch) < BATCH_LIMIT:
            job = self._waiting.popleft()
            if not job.abandoned:
                batch.append(job)
        return batch

    def _check_open(self) -> None:
        if self._closed:
            raise TransientError("the database is closed: the daemon is stopping", "try again once it runs again")


def _make_file(path: Path) -> bool:
    """Make sure that the file at `path` exists. Return True if it is new. Raises PermanentError, TransientError."""
    try:
        new = not path.exists() or path.stat().st_size == 0
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except (PermissionError, IsADirectoryError, NotADirectoryError, FileNotFoundError) as error:
        raise PermanentError(f"cannot open {path}: {error.strerror}", "check that hive may write there") from error
    except OSError as error:
        raise TransientError(f"cannot open {path}: {error.strerror}", "check the disk") from error
    return new


def _fail(batch: Iterable[Pending], error: Exception) -> None:
    """Raise `error` in the callers of a lost batch. A cancellation would end their tasks without a message."""
    for job in batch:
        job.error = job.error or error
        job.settle()


def _in_snapshot(query: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    connection.execute("BEGIN")
    try:
        return query(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _checkpoint(connection: sqlite3.Connection) -> None:
    """Checkpoint without waiting for a reader: that would hold up every write for BUSY_TIMEOUT."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
