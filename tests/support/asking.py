"""Questions and reminders over a real database. A test moves the clock; agents are only names."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from meta.errors import Refused
from meta.wire.events import HELPER_EVENT, HelperEvent
from reconciler.messaging.loose_ends import LooseEnds
from reconciler.messaging.questions import Questions
from reconciler.messaging.reminders import Reminders
from reconciler.store.cards import Cards
from reconciler.store.database import Database


@dataclass
class Asking:
    """The questions and reminders of one test.

    `woken` lists the names whose receivers were woken, in order. `barred` has pairs of a sender and a recipient that it
    may not write to.
    """

    db: Database
    folder: Path
    now: float = 1_000.0
    names: set[str] = field(default_factory=lambda: {"alice", "bob"})
    barred: set[tuple[str, str]] = field(default_factory=set)
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        known, clock = self.names.__contains__, lambda: self.now
        self.questions = Questions(self.db, check=self.check, known=known, wake=self.woken.append, clock=clock)
        self.reminders = Reminders(self.db, known=known, state=self.state, wake=self.woken.append, clock=clock)
        self.cards = Cards(self.db, clock)
        self.ends = LooseEnds(self.questions, self.reminders, self.cards.pending, clock)

    async def check(self, sender: str, to: str) -> None:
        if (sender, to) in self.barred:
            raise Refused(f"{sender} may not write to {to}")

    def state(self, name: str) -> Path:
        """Return the path of the agent's /state on the host."""
        return self.folder / name

    async def inbox(self, name: str) -> list[tuple[str, str]]:
        """Return every message of an inbox, oldest first: sender, body."""

        def query(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            return connection.execute(
                "SELECT sender, body FROM messages WHERE recipient = ? ORDER BY id", (name,)
            ).fetchall()

        return await self.db.read(query)

    async def helper_events(self, name: str) -> list[HelperEvent]:
        """Return the helper events of an inbox, oldest first."""
        return [HELPER_EVENT.validate_json(body) for sender, body in await self.inbox(name) if sender == "system"]

    async def spoil(self, table: str, column: str, id: int, text: bytes = b"\xff\xfe") -> None:
        """Damage one text of a row."""
        await self.db.write(
            lambda connection: connection.execute(
                f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE id = ?",
                (text, id),
            )
        )


@contextlib.asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[Asking]:
    """Yield an Asking in `folder`, with a /state each for alice and bob."""
    for name in ("alice", "bob", "manager"):
        (folder / name).mkdir(exist_ok=True)
    async with await Database.open(folder / "hive.db") as db:
        yield Asking(db, folder)
