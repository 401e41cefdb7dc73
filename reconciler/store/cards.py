"""Cards: the state of each id, as rows. They are a projection of the tags and never authorise anything."""

from __future__ import annotations

import builtins
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId
from reconciler.store.database import Database
from reconciler.store.events import card_events, log
from reconciler.views import Card

_STATUS = {
    TagState.PROPOSAL: "pending",
    TagState.APPROVED: "approved",
    TagState.BUILDING: "approved",
    TagState.DEPLOYED: "approved",
    TagState.FAILED: "failed",
    TagState.DENIED: "denied",
}

_COLUMNS = (
    "id, agent, kind, commit_ref, fetched_sha, requested_at, status, state, "
    "resolved_at, note, description, proposed_by, approved_by, source"
)

UNPROVEN = "unproven: not started by its deploy, the agent was stopped"
"""The note of an id that was deployed without a start. It is removed once a start passed the health gate."""


@dataclass(frozen=True, slots=True)
class CardChange:
    """One card before and after a projection.

    `old` is None for a new card, `new` for a card whose tags no longer exist.
    """

    old: Card | None
    new: Card | None

    @property
    def reverted(self) -> bool:
        """True if the card was ahead of the tags."""
        return card_events.reverted(self.old, self.new)


class Cards:
    """The table of cards. `clock` gives Unix seconds; `on_append` is called when a change appended events."""

    def __init__(
        self, db: Database, clock: Callable[[], float] = time.time, on_append: Callable[[], None] = lambda: None
    ) -> None:
        self._db = db
        self._clock = clock
        self._on_append = on_append

    async def stamps(self) -> dict[AgentName, str]:
        """Return the stamp of each agent's last projection. Loaded once, at start."""

        def query(connection: sqlite3.Connection) -> dict[AgentName, str]:
            return {AgentName(row[0]): row[1] for row in connection.execute("SELECT agent, stamp FROM projections")}

        return await self._db.read(query)

    async def project(self, agent: AgentName, deploys: Sequence[Deploy], stamp: str) -> builtins.list[CardChange]:
        """Make the cards of `agent` equal to `deploys` (all of its ids), in one transaction with the events.

        Return the changes, lowest id first. A second projection of the same deploys changes nothing.
        """
        changes = await self._db.write(partial(_project, agent, tuple(deploys), stamp, self._clock()))
        if changes:
            self._on_append()
        return changes

    async def pending(self) -> builtins.list[Card]:
        """Return the cards that wait for the operator, oldest first."""
        return await self._db.read(partial(_select, "status = 'pending' ORDER BY id, agent", ()))

    async def get(self, agent: AgentName, id: ProposalId) -> Card | None:
        """Return the card of one id of `agent`; None if there is none."""
        cards = await self._db.read(partial(_select, "agent = ? AND id = ?", (agent, id)))
        return cards[0] if cards else None

    async def owners(self, id: ProposalId) -> builtins.list[AgentName]:
        """Return the agents that have a card with this id, sorted.

        Several agents may have the id 0, that of a first spawn.
        """

        def query(connection: sqlite3.Connection) -> list[AgentName]:
            rows = connection.execute("SELECT agent FROM cards WHERE id = ? ORDER BY agent", (id,))
            return [AgentName(row[0]) for row in rows]

        return await self._db.read(query)

    async def list(self, agent: AgentName | None = None, limit: int = 50) -> builtins.list[Card]:
        """Return the newest cards (of one agent, or of all), newest first."""
        where = "(?1 IS NULL OR agent = ?1) ORDER BY id DESC, agent LIMIT ?2"
        return await self._db.read(partial(_select, where, (agent, max(0, limit))))

    async def highest_id(self) -> ProposalId:
        """Return the highest id that has a card, or 0. The counter of ids must never fall below it."""

        def query(connection: sqlite3.Connection) -> ProposalId:
            return ProposalId(connection.execute("SELECT coalesce(max(id), 0) FROM cards").fetchone()[0])

        return await self._db.read(query)

    async def forget(self, agent: AgentName) -> None:
        """Remove the cards and the stamp of a purged agent, with the event that says so, once: in one transaction."""

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute("DELETE FROM cards WHERE agent = ?", (agent,))
            shown = connection.execute("DELETE FROM projections WHERE agent = ?", (agent,)).rowcount > 0
            card_events.release_agent(connection, agent)
            if shown:
                log.append(connection, self._clock(), "agent_purged", agent, {})
            return shown

        if await self._db.write(work):
            self._on_append()


def _project(
    agent: AgentName, deploys: tuple[Deploy, ...], stamp: str, now: float, connection: sqlite3.Connection
) -> list[CardChange]:
    before = {card.id: card for card in _select("agent = ?", (agent,), connection)}
    by_id = {deploy.id: deploy for deploy in deploys if deploy.agent == agent}
    after = {id: _card(deploy, before.get(id), int(now)) for id, deploy in by_id.items()}
    changes = [
        CardChange(before.get(id), after.get(id)) for id in sorted({*before, *after}) if before.get(id) != after.get(id)
    ]
    for change in changes:
        if change.new is not None:
            _store(connection, change.new)
        elif change.old is not None:
            connection.execute("DELETE FROM cards WHERE agent = ? AND id = ?", (agent, change.old.id))
        deploy = by_id[change.new.id] if change.new is not None else None
        by, sha = (deploy.by, deploy.sha) if deploy is not None else (None, None)
        card_events.append(connection, now, change.old, change.new, by, sha)
    connection.execute(
        "INSERT INTO projections VALUES (?1, ?2) ON CONFLICT (agent) DO UPDATE SET stamp = ?2", (agent, stamp)
    )
    return changes


def _card(deploy: Deploy, old: Card | None, now: int) -> Card:
    status = _STATUS[deploy.state]
    spawn = deploy.kind is DeployKind.SPAWN
    return Card(
        id=deploy.id,
        agent=deploy.agent,
        kind=deploy.kind,
        commit_ref="" if spawn else deploy.commit_ref,
        fetched_sha=None if spawn else deploy.sha,
        requested_at=deploy.requested_at,
        status=status,
        state=deploy.state.value,
        resolved_at=_resolved_at(deploy, status, old, now),
        note=deploy.reason or (UNPROVEN if deploy.unproven else None),
        description=deploy.description or None,
        proposed_by=deploy.proposed_by or None,
        approved_by=deploy.approved_by or None,
        source=deploy.source or None,
    )


def _resolved_at(deploy: Deploy, status: str, old: Card | None, now: int) -> int | None:
    if status == "pending":
        return None
    # An approval may have no time; its card then keeps the time at which hive first saw it.
    return deploy.resolved_at or (old.resolved_at if old and old.status == status else None) or now


def _select(where: str, parameters: tuple[object, ...], connection: sqlite3.Connection) -> list[Card]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM cards WHERE {where}", parameters)  # noqa: S608 - constants only
    return [Card(row[0], row[1], DeployKind(row[2]), *row[3:]) for row in rows]


def _store(connection: sqlite3.Connection, card: Card) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO cards ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            card.id,
            card.agent,
            card.kind.value,
            card.commit_ref,
            card.fetched_sha,
            card.requested_at,
            card.status,
            card.state,
            card.resolved_at,
            card.note,
            card.description,
            card.proposed_by,
            card.approved_by,
            card.source,
        ),
    )
