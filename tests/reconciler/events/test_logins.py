"""A missing login, and a login that is there again: each is reported once, over daemons, and not at every flap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meta.names import AgentName
from meta.wire.link import TurnState
from reconciler.events import logins
from reconciler.events.feed import Events
from reconciler.events.logins import Logins
from reconciler.observe.memory import Memory
from reconciler.plan.observed import AgentObserved, LinkView
from reconciler.store.cards import Cards
from reconciler.store.database import Database
from reconciler.store.memos import Memos

ALICE = AgentName("alice")
NEEDS = TurnState.NEEDS_LOGIN


@dataclass
class Parts:
    """Logins, and a clock that a test moves."""

    memory: Memory
    events: Events
    now: float = 0.0
    logins: Logins = field(init=False)

    def __post_init__(self) -> None:
        self.logins = Logins(self.memory, lambda: 1_000.0, lambda: self.now)

    async def look(self, turn: TurnState | None) -> float | None:
        """The loop looks while the harness says `turn` (None: it is not connected)."""
        link = LinkView(connected=turn is not None, turn=turn)
        return await self.logins.note(ALICE, AgentObserved(link=link, memo=self.memory.get(ALICE)))

    async def says(self, *turns: TurnState | None) -> list[str]:
        """It says each for as long as it takes; the kinds of all events so far."""
        for turn in turns:
            while (again := await self.look(turn)) is not None:
                self.now += again
        return [event.kind for event in await self.events.since(None)]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "db") as made:
        yield made


async def daemon(database: Database) -> Parts:
    parts = Parts(Memory(Memos(database), Cards(database)), Events(database))
    await parts.memory.load("one")
    return parts


async def test_each_change_is_told_once_and_the_next_daemon_knows(database: Database) -> None:
    first = await daemon(database)
    assert await first.says(TurnState.IDLE, TurnState.THINKING, None) == []
    assert await first.says(NEEDS, NEEDS) == ["agent_needs_login"]
    second = await daemon(database)
    assert await second.says(None, NEEDS, TurnState.DRAINED, None) == ["agent_needs_login"]
    assert await second.says(TurnState.IDLE) == ["agent_needs_login", "agent_logged_in"]
    assert len(await second.says(TurnState.IDLE, NEEDS)) == 3


async def test_first_spawn_login_restarts_and_purge_report_each_change_once(database: Database) -> None:
    parts = await daemon(database)
    needs, logged = "agent_needs_login", "agent_logged_in"
    assert await parts.says(None, TurnState.IDLE, NEEDS) == [needs]  # the first spawn
    assert await parts.says(None, NEEDS, None, NEEDS) == [needs]  # restarts of the agent
    parts = await daemon(database)
    assert await parts.says(None, NEEDS) == [needs]  # a restart of the daemon
    assert await parts.says(TurnState.IDLE, TurnState.THINKING) == [needs, logged]  # the login
    parts = await daemon(database)
    assert await parts.says(None, TurnState.IDLE, None, TurnState.PAUSED, TurnState.IDLE) == [needs, logged]
    await parts.memory.forget(ALICE)  # a purge
    assert await parts.says(None, TurnState.IDLE, NEEDS) == [needs, logged, needs]  # the next agent of that name


async def test_a_purge_of_an_agent_without_a_login_reports_nothing_of_the_next_one(database: Database) -> None:
    parts = await daemon(database)
    await parts.says(NEEDS)
    await parts.memory.forget(ALICE)
    assert await parts.says(None, TurnState.IDLE, TurnState.THINKING) == ["agent_needs_login"]


async def test_an_agent_whose_runtime_needs_no_login_reports_none(database: Database) -> None:
    parts = await daemon(database)
    assert await parts.says(None, *(state for state in TurnState if state is not NEEDS), None, TurnState.IDLE) == []


@pytest.mark.parametrize("turn", [TurnState.PARKED, TurnState.OVER_BUDGET, TurnState.COMPACTING])
async def test_whatever_else_a_harness_does_it_does_with_a_login(database: Database, turn: TurnState) -> None:
    assert (await (await daemon(database)).says(NEEDS, turn))[1:] == ["agent_logged_in"]


async def test_a_harness_that_changes_its_mind_all_the_time_is_told_of_once_in_minutes(database: Database) -> None:
    parts = await daemon(database)
    for number in range(2_000):
        await parts.look(TurnState.IDLE if number % 2 else NEEDS)
        parts.now += 0.005
    assert await parts.says() == []
    began = parts.now
    for _ in range(5):  # and one that waits as long as it takes
        await parts.says(NEEDS, TurnState.IDLE)
    assert await parts.says() == ["agent_needs_login", "agent_logged_in"] * 5
    assert parts.now - began >= 4 * logins.APART


async def test_a_change_that_lasts_is_told_after_a_moment(database: Database) -> None:
    parts = await daemon(database)
    assert await parts.look(NEEDS) == logins.STABLE
    parts.now = logins.STABLE / 2
    assert await parts.look(NEEDS) == logins.STABLE / 2
    assert await parts.look(None) is None
    assert await parts.look(NEEDS) == logins.STABLE  # a link that broke says nothing
    parts.now += logins.STABLE
    assert await parts.look(NEEDS) is None
    assert await parts.says() == ["agent_needs_login"]
