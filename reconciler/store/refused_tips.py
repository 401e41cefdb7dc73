"""The branches whose tip was refused. A daemon that starts later refuses them again without a fetch.

It does so only for what the same hive refused under the same limits (`judge`): another may accept them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from meta.names import AgentName, Sha
from reconciler.store.database import Database
from reconciler.store.seen_tips import MOST

Refused = dict[str, tuple[Sha, str]]
"""The refused commit and the reason, by source."""


class RefusedTips:
    """The table of refused tips: one row for each branch, as long as it has that tip."""

    def __init__(self, db: Database, judge: str) -> None:
        self._db = db
        self._judge = judge

    async def load(self) -> dict[AgentName, Refused]:
        """Return what this hive refused, by agent. Remove the rest."""

        def work(connection: sqlite3.Connection) -> dict[AgentName, Refused]:
            connection.execute("DELETE FROM refused_tips WHERE judge <> ?", (self._judge,))
            tips: dict[AgentName, Refused] = {}
            for agent, source, sha, reason in connection.execute("SELECT agent, source, sha, reason FROM refused_tips"):
                tips.setdefault(AgentName(agent), {})[source] = Sha(sha), reason
            return tips

        return await self._db.write(work)

    async def save(self, agent: AgentName, source: str, sha: Sha, reason: str) -> None:
        """Store that the tip of a branch was refused. Beyond MOST branches of one agent the oldest rows go."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO refused_tips (agent, source, sha, reason, judge) VALUES (?, ?, ?, ?, ?)",
                (agent, source, sha, reason, self._judge),
            )
            connection.execute(
                "DELETE FROM refused_tips WHERE rowid IN "
                "(SELECT rowid FROM refused_tips WHERE agent = ? ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
                (agent, MOST),
            )

        await self._db.write(work)

    async def remove(self, agent: AgentName, sources: Collection[str]) -> None:
        """Remove branches that moved or are gone."""
        rows = [(agent, source) for source in sources]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM refused_tips WHERE agent = ? AND source = ?", rows)

        await self._db.write(work)

    async def forget(self, agent: AgentName) -> None:
        """Remove the branches of an agent that was purged."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM refused_tips WHERE agent = ?", (agent,))

        await self._db.write(work)
