"""The daemon's memory of agents: memos and projected stamps, in memory and written through to the store."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TypedDict, Unpack

from meta.errors import DiskFull
from meta.names import AgentName, ProposalId
from reconciler.plan.observed import Memo
from reconciler.store.cards import Cards
from reconciler.store.memos import Memos

log = logging.getLogger(__name__)


class MemoChange(TypedDict, total=False):
    """The fields of a Memo that `Memory.change` may set."""

    crashes: int
    excused: int
    last_crash: float
    start_after: float
    counted_exit: str | None
    transient: str | None
    expected_exit: str | None
    rollback_from: ProposalId | None
    rollback_failed: bool
    healthy_nonce: str | None
    rebuilt: int
    needs_login: bool
    proven: tuple[ProposalId, ...]


class Memory:
    """All memos and stamps. They are read once, at start."""

    def __init__(self, memos: Memos, cards: Cards) -> None:
        self._memos = memos
        self._cards = cards
        self._all: dict[AgentName, Memo] = {}
        self._stamps: dict[AgentName, str] = {}
        self._unsaved: set[AgentName] = set()

    async def load(self, incarnation: str) -> None:
        """Read everything. A step that an earlier daemon began and did not end counts one death."""
        self._all = await self._memos.load(incarnation)
        self._stamps = await self._cards.stamps()

    def get(self, agent: AgentName) -> Memo:
        """Return the memo of an agent. It is empty if nothing is remembered."""
        return self._all.get(agent, _EMPTY)

    async def change(self, agent: AgentName, **fields: Unpack[MemoChange]) -> Memo:
        """Set fields and return once they are durable."""
        memo = replace(self.get(agent), **fields)
        if memo != self.get(agent) or agent in self._unsaved:
            await self._memos.save(agent, memo)
            self._all[agent] = memo
            self._unsaved.discard(agent)
        return memo

    async def change_at_once(self, agent: AgentName, **fields: Unpack[MemoChange]) -> None:
        """Set fields even if the disk is full. They are then durable with the next change."""
        try:
            await self.change(agent, **fields)
        except DiskFull as error:
            log.warning("the memo of %s is not stored yet: %s", agent, error.summary)
            self._all[agent] = replace(self.get(agent), **fields)
            self._unsaved.add(agent)

    async def change_with_event(self, agent: AgentName, kind: str, at: float, **fields: Unpack[MemoChange]) -> None:
        """Set fields and append an event of this kind in one transaction."""
        memo = replace(self.get(agent), **fields)
        await self._memos.save(agent, memo, (kind, at))
        self._all[agent] = memo

    async def forget(self, agent: AgentName, event: tuple[str, float] | None = None) -> None:
        """Drop everything about the agent. `event`: kind and time of the event to append in the same transaction."""
        await self._memos.forget(agent, event)
        self._unsaved.discard(agent)
        self._all.pop(agent, None)

    async def begin(self, agent: AgentName, proposal: ProposalId, step: str) -> None:
        """Record that a step of a deploy begins. If the daemon dies in it, that death is counted."""
        await self._memos.begin_step(agent, proposal, step)

    async def end(self, agent: AgentName, proposal: ProposalId, step: str) -> None:
        """Record that the step ended, in success or not."""
        await self._memos.end_step(agent, proposal, step)

    def projected(self, agent: AgentName) -> str | None:
        """Return the stamp of the tags that the cards show."""
        return self._stamps.get(agent)

    def note_projected(self, agent: AgentName, stamp: str | None) -> None:
        """Record that the cards now show the tags of this stamp."""
        if stamp is None:
            self._stamps.pop(agent, None)
        else:
            self._stamps[agent] = stamp


_EMPTY = Memo()
