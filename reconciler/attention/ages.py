"""The ages of rows whose own time does not outlive the daemon: kept in the database."""

from __future__ import annotations

import logging

from pydantic import TypeAdapter

from meta.errors import HiveError
from reconciler.attention.registry import FirstSeen
from reconciler.store.database import Database
from reconciler.store.record import Record

log = logging.getLogger(__name__)
_TIMES = TypeAdapter(dict[str, float])


class Ages:
    """The times of first sight, with their record in the database."""

    def __init__(self, db: Database) -> None:
        self.seen = FirstSeen()
        self._store: Record[dict[str, float]] = Record(db, "attention", _TIMES, {})
        self._stored: dict[str, float] | None = None

    async def load(self, now: float) -> None:
        """Read the record, once. If that fails, the next look tries again."""
        if self._stored is not None:
            return
        try:
            stored = await self._store.load()
        except HiveError as error:
            log.warning("the ages of the attention list are not known: %s", error.summary, extra={"limited": "ages"})
            return
        if self._stored is None:  # another look may have been faster
            self._stored = stored
            self.seen.restore(stored, now)

    async def save(self) -> None:
        """Write the record if it changed. If that fails, e.g. on a full disk, the next look tries again."""
        times = dict(self.seen.times)
        if self._stored is None or times == self._stored:
            return
        try:
            await self._store.save(times)
        except HiveError as error:
            log.warning("the ages of the attention list are not kept: %s", error.summary, extra={"limited": "ages"})
            return
        self._stored = times
