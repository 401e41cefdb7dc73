"""Budgets as hive enforces them: from its own store, once per transition, over restarts and jumps of the clock."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from meta.agent_toml.settings import AgentSettings, Budget
from meta.errors import DiskFull, TransientError
from meta.names import AgentName
from meta.wire.live import Usage, to_object
from reconciler.observe.settings import CLOSED
from reconciler.plan.budget import DAY
from reconciler.store.database import Database
from reconciler.store.events import log
from reconciler.telemetry.turns import TurnCounters
from reconciler.usage import records
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords

ALICE, BOB = AgentName("alice"), AgentName("bob")
NOON = 20_000 * DAY + 43_200.0
MIDNIGHT = 20_001.0 * DAY


class Holds:
    """The holds that were set (reconciler.observe.holds)."""

    def __init__(self) -> None:
        self.held: dict[AgentName, tuple[float | None, str]] = {}
        self.calls = 0

    def set_over_budget(self, agent: AgentName, until: float | None, reason: str) -> None:
        self.held[agent] = (until, reason)
        self.calls += 1

    def clear_over_budget(self, agent: AgentName) -> None:
        self.held.pop(agent, None)
        self.calls += 1


class Hive:
    """Budgets and turns on a database, with a clock and settings that a test sets."""

    def __init__(self, db: Database, budget: Budget | None = None) -> None:
        self.db = db
        self.now = NOON
        self.names = [ALICE, BOB]
        self.settings: dict[AgentName, AgentSettings | Exception] = {
            ALICE: AgentSettings(budget=budget or Budget(turns=2)),
            BOB: AgentSettings(),
        }
        self.ids = 0
        self.registry = CollectorRegistry()
        self.counters = TurnCounters(self.registry)
        self.restart()

    def restart(self) -> None:
        self.holds = Holds()
        self.budgets = Budgets(self.db, self._settings, lambda: self.names, self.holds, clock=lambda: self.now)
        self.turns = TurnRecords(self.db, self.counters, self.budgets.judge, clock=lambda: self.now)

    async def _settings(self, agent: AgentName) -> AgentSettings | None:
        settings = self.settings[agent]
        if isinstance(settings, Exception):
            raise settings
        return settings

    async def turn(self, agent: AgentName = ALICE, **fields: Any) -> bool:
        self.ids += 1
        usage = Usage(**{"runtime": "claude", "seconds": 1.0, "ending": "ok", **fields})
        return await self.turns.record(agent, "log1", self.ids, self.now, usage)

    async def kinds(self) -> list[str]:
        return [row.kind for row in await self.db.read(lambda connection: log.after(connection, 0, 99))]


@pytest.fixture
def hive(db: Database) -> Hive:
    return Hive(db)


async def test_the_turn_that_uses_the_budget_up_holds_the_agent_until_midnight(hive: Hive) -> None:
    await hive.turn()
    assert hive.holds.held == {}
    await hive.turn()
    assert hive.holds.held == {ALICE: (MIDNIGHT, "today's budget is used up: 2 of 2 turns")}
    assert await hive.kinds() == ["agent_over_budget"]


async def test_an_agent_without_a_budget_is_never_held(hive: Hive) -> None:
    for _ in range(9):
        await hive.turn(BOB, input_tokens=10**12, cost_dollars=1e6)
    assert hive.holds.held == {}


@pytest.mark.parametrize(
    ("budget", "claim"),
    [(Budget(tokens=100), {"input_tokens": 60, "output_tokens": 40}), (Budget(dollars=1), {"cost_dollars": 1.0})],
)
async def test_tokens_and_dollars_hold_an_agent_too(db: Database, budget: Budget, claim: dict[str, Any]) -> None:
    hive = Hive(db, budget)
    await hive.turn(**claim)
    assert ALICE in hive.holds.held


async def test_a_turn_that_is_reported_again_is_not_counted_again(hive: Hive) -> None:
    assert await hive.turn()
    hive.ids -= 1
    assert not await hive.turn()
    assert hive.holds.held == {}


async def test_an_outage_uses_up_no_turns(hive: Hive) -> None:
    for _ in range(9):
        await hive.turn(ending="parked")
    assert hive.holds.held == {}


async def test_the_event_is_appended_once_however_often_it_is_compared(hive: Hive) -> None:
    for _ in range(4):
        await hive.turn()
        await hive.budgets.round()
    assert await hive.kinds() == ["agent_over_budget"]


async def test_it_goes_on_by_itself_on_the_next_day(hive: Hive) -> None:
    await hive.turn()
    await hive.turn()
    hive.now = MIDNIGHT - 1
    await hive.budgets.round()
    assert ALICE in hive.holds.held
    hive.now = MIDNIGHT
    await hive.budgets.round()
    assert hive.holds.held == {}
    assert await hive.kinds() == ["agent_over_budget", "agent_within_budget"]


async def test_it_goes_on_once_a_deploy_raises_its_budget(hive: Hive) -> None:
    await hive.turn()
    await hive.turn()
    hive.settings[ALICE] = AgentSettings(budget=Budget(turns=3))
    await hive.budgets.round()
    assert hive.holds.held == {}
    await hive.turn()
    assert ALICE in hive.holds.held


async def test_a_budget_that_a_deploy_brings_counts_the_turns_of_that_day(hive: Hive) -> None:
    await hive.turn(BOB)
    hive.settings[BOB] = AgentSettings(budget=Budget(turns=1))
    await hive.budgets.round()
    assert BOB in hive.holds.held


async def test_a_restart_of_the_daemon_holds_it_again_without_another_event(hive: Hive) -> None:
    await hive.turn()
    await hive.turn()
    hive.restart()
    await hive.budgets.load()
    assert hive.holds.held[ALICE][0] == MIDNIGHT
    await hive.budgets.round()
    assert await hive.kinds() == ["agent_over_budget"]


async def test_a_daemon_that_was_away_over_midnight_reports_that_it_goes_on(hive: Hive) -> None:
    await hive.turn()
    await hive.turn()
    hive.now = MIDNIGHT + 5
    hive.restart()
    await hive.budgets.load()
    await hive.budgets.round()
    assert hive.holds.held == {}
    assert await hive.kinds() == ["agent_over_budget", "agent_within_budget"]


@pytest.mark.parametrize("jump", [-40 * DAY, 40 * DAY])
async def test_a_jump_of_the_clock_and_back_leaves_the_budget_as_it_was(hive: Hive, jump: float) -> None:
    await hive.turn()
    await hive.turn()
    hive.now += jump
    await hive.budgets.round()
    await hive.turn()
    assert ALICE not in hive.holds.held
    hive.now -= jump
    await hive.budgets.round()
    assert ALICE in hive.holds.held


@pytest.mark.parametrize("settings", [CLOSED, TransientError("the repo is busy", "")])
async def test_an_agent_toml_that_cannot_be_read_neither_frees_nor_holds(
    hive: Hive, settings: AgentSettings | Exception
) -> None:
    await hive.turn()
    await hive.turn()
    hive.settings[ALICE] = hive.settings[BOB] = settings
    await hive.budgets.round()
    assert set(hive.holds.held) == {ALICE}


@pytest.mark.parametrize("settings", [CLOSED, TransientError("the repo is busy", "")])
async def test_an_agent_toml_that_cannot_be_read_at_midnight_frees_the_agent(
    hive: Hive, settings: AgentSettings | Exception
) -> None:
    await hive.turn()
    await hive.turn()
    hive.settings[ALICE] = settings
    hive.now = MIDNIGHT + 1
    await hive.budgets.round()
    assert hive.holds.held == {}
    assert hive.budgets.over == {}


async def test_a_day_that_has_ended_is_not_looked_for_again_and_again(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hive.turn()
    await hive.turn()
    hive.now = MIDNIGHT + 1
    rounds = 0

    async def fail() -> None:
        nonlocal rounds
        rounds += 1
        raise TransientError("the database is busy", "")

    monkeypatch.setattr(hive.budgets, "round", fail)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            await hive.budgets.run()
    assert rounds == 1


async def test_an_agent_whose_hold_cannot_be_recorded_does_not_keep_the_others_from_theirs(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for agent in (ALICE, BOB):
        await hive.turn(agent)
        hive.settings[agent] = AgentSettings(budget=Budget(turns=1))

    async def full(_work: object) -> None:
        raise DiskFull("the disk is full", "")

    monkeypatch.setattr(hive.db, "write", full)
    with pytest.raises(DiskFull):
        await hive.budgets.round()
    assert set(hive.holds.held) == {ALICE, BOB}


async def test_a_full_disk_holds_the_agent_all_the_same_and_the_event_follows(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hive.turn()
    hive.settings[ALICE] = AgentSettings(budget=Budget(turns=1))

    async def full(_work: object) -> None:
        raise DiskFull("the disk is full", "")

    with monkeypatch.context() as patch:
        patch.setattr(hive.db, "write", full)
        await hive.budgets.judge(ALICE)
    assert ALICE in hive.holds.held
    assert await hive.kinds() == []
    await hive.budgets.round()
    assert await hive.kinds() == ["agent_over_budget"]


async def test_an_agent_that_is_destroyed_is_over_no_budget(hive: Hive) -> None:
    await hive.turn()
    await hive.turn()
    hive.names.remove(ALICE)
    await hive.budgets.round()
    assert hive.budgets.over == {}


async def test_an_agent_that_reports_turns_without_end_is_slowed_down_and_another_is_not(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def rest(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(records, "AT_ONCE", 5)
    monkeypatch.setattr(records, "PER_MINUTE", 1)
    taking = TurnRecords(hive.db, hive.counters, hive.budgets.judge, lambda: hive.now, rest)
    usage = Usage(runtime="claude", seconds=1.0, ending="ok")
    for number in range(7):
        await taking.take(ALICE, "log1", number, hive.now, to_object(usage))
    assert len(waits) == 2
    assert all(0 < seconds <= 60 for seconds in waits)
    await taking.take(BOB, "log1", 1, hive.now, to_object(usage))
    assert len(waits) == 2


async def test_unknown_lines_and_unreadable_rows_are_counted_and_many_are_a_condition_of_that_day(hive: Hive) -> None:
    await hive.turn(unknown_lines=records.MANY - 1)
    assert hive.turns.conditions(ALICE) == ()
    await hive.turn(unknown_lines=1, unreadable_rows=2)
    await hive.turn(BOB)
    assert hive.turns.conditions(ALICE) == (
        f"its CLI printed {records.MANY} lines today that hive does not know: `hive attach`",
        "2 rows of its event log are no events, found today",
    )
    assert hive.turns.conditions(BOB) == ()
    (row,) = await hive.turns.totals(ALICE, 0.0)
    assert (row.unknown_lines, row.unreadable_rows) == (records.MANY, 2)
    assert [turn.unknown_lines for turn in await hive.turns.newest(ALICE, 9)] == [1, records.MANY - 1]
    text = generate_latest(hive.registry).decode()
    assert f'hive_turn_unknown_lines_total{{agent="alice"}} {records.MANY}.0' in text
    assert 'hive_turn_unreadable_rows_total{agent="alice"} 2.0' in text
    hive.now += DAY
    assert hive.turns.conditions(ALICE) == ()


async def test_each_turn_is_counted_for_prometheus_and_a_purge_removes_the_series(hive: Hive) -> None:
    await hive.turn(input_tokens=7, cost_dollars=0.5)
    await hive.turn(ending="\x1b[31mhostile")
    text = generate_latest(hive.registry).decode()
    assert 'hive_turns_total{agent="alice",ending="ok"} 1.0' in text
    assert 'hive_turns_total{agent="alice",ending="other"} 1.0' in text
    assert 'hive_turn_tokens_total{agent="alice",kind="input"} 7.0' in text
    assert 'hive_turn_cost_dollars_total{agent="alice"} 0.5' in text
    hive.counters.forget(ALICE)
    assert "alice" not in generate_latest(hive.registry).decode()
