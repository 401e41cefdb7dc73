"""The last tip of each branch that became a proposal. A loss costs little, because the tags have them too."""

from __future__ import annotations

import sqlite3

from meta.names import AgentName, Sha
from reconciler.store.database import Database

MOST = 10_000
"""Branches per agent that are kept when the oldest are removed, after each _PRUNE_EVERY-th save."""
_PRUNE_EVERY = 100


class SeenTips:
    """The table of tips."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> dict[AgentName, dict[str, Sha]]:
        """Return all tips, by agent and source."""

        def query(connection: sqlite3.Connection) -> dict[AgentName, dict[str, Sha]]:
            tips: dict[AgentName, dict[str, Sha]] = {}
            for agent, source, sha in connection.execute("SELECT agent, source, sha FROM tips"):
                tips.setdefault(AgentName(agent), {})[source] = Sha(sha)
            return tips

        return await self._db.read(query)

    async def save(self, agent: AgentName, source: str, sha: Sha, at: int) -> None:
        """Store the last tip of a branch."""

        def work(connection: sqlite3.Connection) -> None:
            added = connection.execute(
                "INSERT OR REPLACE INTO tips (agent, source, sha, at) VALUES (?, ?, ?, ?)",
                (agent, source, sha, at),
            ).lastrowid
            if (added or 0) % _PRUNE_EVERY == 0:  # it looks through all of the agent's rows
                connection.execute(
                    "DELETE FROM tips WHERE rowid IN "
                    "(SELECT rowid FROM tips WHERE agent = ? ORDER BY at DESC, rowid DESC LIMIT -1 OFFSET ?)",
                    (agent, MOST),
                )

        await self._db.write(work)

    async def forget(self, agent: AgentName) -> None:
        """Remove the tips of an agent that was purged."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM tips WHERE agent = ?", (agent,))

        await self._db.write(work)
