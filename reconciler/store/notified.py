"""What was notified about, so that a new daemon does not repeat it: one row of the table `meta`."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from reconciler.store.database import Database

logger = logging.getLogger(__name__)
_NAME = "notified"


@dataclass(frozen=True, slots=True)
class Notices:
    """When each row was sent, by its key, and the times of the notifications of the last hour. Unix seconds."""

    sent: dict[str, float] = field(default_factory=dict)
    times: tuple[float, ...] = ()


_NOTICES = TypeAdapter(Notices)


class Notified:
    """The stored notices."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> Notices:
        """Return what is stored. A damaged row counts as none: then notifications are repeated once."""

        def query(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (_NAME,)).fetchone()
            return None if row is None else str(row[0])

        text = await self._db.read(query)
        try:
            return Notices() if text is None else _NOTICES.validate_json(text)
        except ValidationError as error:
            logger.error("the record of notifications does not decode, an empty one is used: %s", error.title)
            return Notices()

    async def save(self, notices: Notices) -> None:
        """Store the notices in place of those before."""
        text = _NOTICES.dump_json(notices).decode()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
                (_NAME, text),
            )

        await self._db.write(work)
