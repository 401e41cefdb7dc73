"""Memos: facts about each agent that outlive the daemon, and the steps in which daemons died."""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pydantic import TypeAdapter, ValidationError

from meta.names import AgentName, ProposalId
from reconciler.plan.observed import Memo
from reconciler.store.database import Database
from reconciler.store.events import keys, log

logger = logging.getLogger(__name__)

_MEMO = TypeAdapter(Memo)
_Deaths = dict[AgentName, dict[tuple[ProposalId, str], int]]


class Memos:
    """The tables of memos and deaths. Call `load` first. Nothing else may write the tables.

    `on_append` is called when a change appended an event.
    """

    def __init__(self, db: Database, on_append: Callable[[], None] = lambda: None) -> None:
        self._db = db
        self._on_append = on_append
        self._incarnation = ""
        self._stored: dict[AgentName, str] = {}

    async def load(self, incarnation: str) -> dict[AgentName, Memo]:
        """Return every memo. A step that an earlier daemon began and never ended counts one death, durably."""
        self._incarnation = incarnation
        stored, deaths = await self._db.write(partial(_load, incarnation))
        self._stored = stored
        memos = {agent: _decode(agent, text) for agent, text in stored.items()}
        for agent, counts in deaths.items():
            memos[agent] = replace(memos.get(agent, Memo()), deaths=counts)
        return memos

    async def save(self, agent: AgentName, memo: Memo, event: tuple[str, float] | None = None) -> None:
        """Store the memo, unless it is stored already. `deaths` is written by the steps, not here.

        `event` is the kind and the time of an event that is appended in the same transaction.
        """
        text = _MEMO.dump_json(memo, exclude={"deaths"}).decode()
        if self._stored.get(agent) == text:
            return

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO memos VALUES (?1, ?2) ON CONFLICT (agent) DO UPDATE SET memo = ?2", (agent, text)
            )
            if event is not None:
                kind, at = event
                log.append(connection, at, kind, agent, {})

        self._stored.pop(
            agent, None
        )  # unknown until the write is answered: a cancelled write may or may not have been done
        await self._db.write(work)
        self._stored[agent] = text
        if event is not None:
            self._on_append()

    async def begin_step(self, agent: AgentName, id: ProposalId, step: str) -> None:
        """Record that a step begins. If the daemon dies before `end_step`, one death in the step is counted."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO deaths (agent, id, step, begun_by) VALUES (?1, ?2, ?3, ?4) "
                "ON CONFLICT (agent, id, step) DO UPDATE SET begun_by = ?4",
                (agent, id, step, self._incarnation),
            )

        await self._db.write(work)

    async def end_step(self, agent: AgentName, id: ProposalId, step: str) -> None:
        """Record that a step ended, in success or not. The deaths counted so far stay."""

        def work(connection: sqlite3.Connection) -> None:
            key = (agent, id, step)
            connection.execute("DELETE FROM deaths WHERE agent = ? AND id = ? AND step = ? AND count = 0", key)
            connection.execute("UPDATE deaths SET begun_by = NULL WHERE agent = ? AND id = ? AND step = ?", key)

        await self._db.write(work)

    async def forget(self, agent: AgentName, event: tuple[str, float] | None = None) -> None:
        """Remove everything that is remembered about the agent. `event`: as for `save`."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM memos WHERE agent = ?", (agent,))
            connection.execute("DELETE FROM deaths WHERE agent = ?", (agent,))
            log.release_all(connection, keys.rebuilds_of(agent))  # a later agent of this name counts anew
            if event is not None:
                kind, at = event
                log.append(connection, at, kind, agent, {})

        await self._db.write(work)
        self._stored.pop(agent, None)
        if event is not None:
            self._on_append()


_OF_ENDED_IDS = (
    "EXISTS (SELECT 1 FROM cards WHERE cards.agent = deaths.agent AND cards.id = deaths.id "
    "AND cards.state IN ('deployed', 'failed', 'denied'))"
)


def _load(incarnation: str, connection: sqlite3.Connection) -> tuple[dict[AgentName, str], _Deaths]:
    connection.execute(f"DELETE FROM deaths WHERE {_OF_ENDED_IDS}")  # noqa: S608 - constant; they decide nothing now
    connection.execute(
        "UPDATE deaths SET count = count + 1, begun_by = NULL WHERE begun_by IS NOT NULL AND begun_by != ?",
        (incarnation,),
    )
    stored = {AgentName(row[0]): str(row[1]) for row in connection.execute("SELECT agent, memo FROM memos")}
    deaths: _Deaths = defaultdict(dict)
    for agent, id, step, count in connection.execute("SELECT agent, id, step, count FROM deaths WHERE count > 0"):
        deaths[AgentName(agent)][ProposalId(id), step] = count
    return stored, deaths


def _decode(agent: AgentName, text: str) -> Memo:
    try:
        return _MEMO.validate_json(text, strict=True)
    except ValidationError as error:
        # An empty memo only forgets counters: the agent must not be stuck because of it.
        logger.error("the memo of %s does not decode, an empty one is used: %s", agent, error)
        return Memo()
