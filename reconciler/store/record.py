"""A value of which there is one in the database, as JSON: one row of the table `meta`."""

from __future__ import annotations

import logging
import sqlite3
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from reconciler.store.database import Database

log = logging.getLogger(__name__)
T = TypeVar("T")


class Record(Generic[T]):
    """The value with this name in the table. Without a row, or with one that does not decode, it is `empty`."""

    def __init__(self, db: Database, name: str, adapter: TypeAdapter[T], empty: T) -> None:
        self._db = db
        self._name = name
        self._adapter = adapter
        self._empty = empty

    async def load(self) -> T:
        """Return the stored value."""

        def query(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (self._name,)).fetchone()
            return None if row is None else str(row[0])

        text = await self._db.read(query)
        try:
            return self._empty if text is None else self._adapter.validate_json(text)
        except ValidationError as error:
            log.error(
                "the record %s in the database does not decode, an empty one is used: %s", self._name, error.title
            )
            return self._empty

    async def save(self, value: T) -> None:
        """Store `value` in place of the one before."""
        text = self._adapter.dump_json(value).decode()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
                (self._name, text),
            )

        await self._db.write(work)
