"""Group commit: several functions in one transaction, in the writer's thread.

Nearly always all of them succeed, and savepoints would cost as much as the functions. Only if one fails, all are run
again, each behind a savepoint of its own. So a failure concerns one caller.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Pending(Protocol):
    """A write whose caller waits for the answer, of any type."""

    error: Exception | None

    @property
    def abandoned(self) -> bool:
        """True if the caller was cancelled."""

    def run(self, connection: sqlite3.Connection) -> None:
        """Call the function, and keep its result or error."""

    def settle(self) -> None:
        """Answer the caller (on the loop, after COMMIT)."""

    def abandon(self) -> None:
        """Cancel the caller. Otherwise it would wait for ever."""


class Job(Generic[T]):
    """One call of Database.write."""

    def __init__(self, work: Callable[[sqlite3.Connection], T], answer: asyncio.Future[T]) -> None:
        self.error: Exception | None = None
        self._answer = answer
        self._work = work
        self._value: tuple[T] | None = None

    @property
    def abandoned(self) -> bool:
        """True if the caller was cancelled. Nothing else ends the answer early."""
        return self._answer.done()

    def run(self, connection: sqlite3.Connection) -> None:
        """Call the function and keep its result or error. An error concerns only this job's caller."""
        self.error, self._value = None, None
        try:
            self._value = (self._work(connection),)
        except Exception as error:  # noqa: BLE001 - raised again in the caller by settle()
            self.error = error

    def settle(self) -> None:
        """Pass the outcome to the caller, unless it was cancelled."""
        if self._answer.done():
            return
        if self._value is not None and self.error is None:
            self._answer.set_result(self._value[0])
        else:
            self._answer.set_exception(self.error or RuntimeError("the write was not run"))

    def abandon(self) -> None:
        """Cancel the caller."""
        self._answer.cancel()


def run_batch(jobs: Sequence[Pending], connection: sqlite3.Connection) -> bool:
    """Run the jobs in one transaction. Return True if anything was changed.

    Afterwards each job has its outcome. If the whole transaction is lost (disk full, an I/O error at COMMIT), each job
    is run again alone, so that a job that cannot be stored does not fail the others.
    """
    before = connection.total_changes
    if (lost := _attempt(jobs, connection)) is not None:
        for job in jobs:
            alone = _attempt((job,), connection) if len(jobs) > 1 else lost
            if alone is not None:
                job.error = alone
    return connection.total_changes != before


def _attempt(jobs: Sequence[Pending], connection: sqlite3.Connection, *, guarded: bool = False) -> sqlite3.Error | None:
    """Run one transaction. Return None if it was committed, else the error that lost it as a whole."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            if guarded:
                connection.execute("SAVEPOINT job")
            job.run(connection)
            if not connection.in_transaction:  # SQLite rolled everything back by itself
                return job.error if isinstance(job.error, sqlite3.Error) else sqlite3.OperationalError("rolled back")
            if job.error is not None and not guarded:
                connection.execute("ROLLBACK")
                return _attempt(jobs, connection, guarded=True) if len(jobs) > 1 else None
            if job.error is not None:
                connection.execute("ROLLBACK TO job")
            if guarded:
                connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return error
    return None
