"""When rows of the attention list were first seen, so that ages outlive the daemon: one row of the table `meta`."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from reconciler.store.database import Database

logger = logging.getLogger(__name__)
_NAME = "attention"
_TIMES = TypeAdapter(dict[str, float])


class SeenTimes:
    """The stored times, in Unix seconds, by the key of the row."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> dict[str, float]:
        """Return what is stored. A damaged record counts as none: then ages begin again."""

        def query(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (_NAME,)).fetchone()
            return None if row is None else str(row[0])

        text = await self._db.read(query)
        try:
            return {} if text is None else _TIMES.validate_json(text)
        except ValidationError as error:
            logger.error("the times of the attention list do not decode, ages begin again: %s", error.title)
            return {}

    async def save(self, times: Mapping[str, float]) -> None:
        """Store the times in place of those before."""
        text = _TIMES.dump_json(dict(times)).decode()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
                (_NAME, text),
            )

        await self._db.write(work)
