"""That an agent has no login, and has one again: told once each, also by the next daemon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from meta.names import AgentName
from meta.wire.link import TurnState
from reconciler import logins
from reconciler.events import Events
from reconciler.memory import Memory
from reconciler.observed import AgentObserved, LinkView
from reconciler.store.cards import Cards
from reconciler.store.db import Database
from reconciler.store.memos import Memos
from reconciler.world import World

ALICE = AgentName("alice")


@dataclass
class Parts:
    """What `logins` needs of the world."""

    memory: Memory
    events: Events

    def clock(self) -> float:
        return 1_000.0


async def says(database: Database, *turns: TurnState | None) -> list[str]:
    """A daemon whose agent's harness says `turns` (None: it is not connected); the kinds of all events so far."""
    parts = Parts(Memory(Memos(database), Cards(database)), Events(database))
    await parts.memory.load("one")
    for turn in turns:
        link = LinkView(connected=turn is not None, turn=turn)
        await logins.note(cast("World", parts), ALICE, AgentObserved(link=link, memo=parts.memory.get(ALICE)))
    kinds = [event.kind for event in await parts.events.since(None)]
    await parts.events.close()
    return kinds


async def test_each_change_is_told_once_and_the_next_daemon_knows(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "db") as database:
        assert await says(database, TurnState.IDLE, TurnState.THINKING, None) == []
        needs = TurnState.NEEDS_LOGIN
        assert await says(database, needs, needs) == ["agent_needs_login"]
        assert await says(database, None, needs, TurnState.DRAINED, None) == ["agent_needs_login"]
        assert await says(database, TurnState.IDLE) == ["agent_needs_login", "agent_logged_in"]
        assert len(await says(database, TurnState.IDLE, needs)) == 3


@pytest.mark.parametrize("turn", [TurnState.PARKED, TurnState.OVER_BUDGET, TurnState.COMPACTING])
async def test_whatever_else_a_harness_does_it_does_with_a_login(tmp_path: Path, turn: TurnState) -> None:
    async with await Database.open(tmp_path / "db") as database:
        assert (await says(database, TurnState.NEEDS_LOGIN, turn))[1:] == ["agent_logged_in"]
