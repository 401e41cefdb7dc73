"""Metered tokens: kept once, whatever restarts, and counted by a budget if an agent claims less."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from meta.agent_toml.settings import AgentSettings, Budget
from meta.names import AgentName
from meta.network.report import AgentReport, Metered, Report
from meta.wire.live import Usage
from reconciler.plan.budget import DAY
from reconciler.store import usage as rows
from reconciler.store.database import Database
from reconciler.telemetry.metrics import Metrics
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords
from reconciler.usage.tokens import MeteredTokens

ALICE = AgentName("alice")
NOON = 20_787 * DAY + 43_200.0
TODAY, YESTERDAY = "2026-11-30", "2026-11-29"


def report(**metered: Metered) -> Report:
    days = {day.replace("d", "").replace("_", "-"): sums for day, sums in metered.items()}
    return Report(1, "", 1, 0.0, "", {"alice": AgentReport(metered=days), "gone": AgentReport(metered=days)})


def today(input: int, output: int = 0, requests: int = 1) -> Report:
    return report(d2026_11_30=Metered(requests, input, output, 5))


class Holds:
    """The holds that were set (reconciler.observe.holds): agent -> reason."""

    def __init__(self) -> None:
        self.held: dict[AgentName, str] = {}

    def set_over_budget(self, agent: AgentName, until: float | None, reason: str) -> None:
        self.held[agent] = reason

    def clear_over_budget(self, agent: AgentName) -> None:
        self.held.pop(agent, None)


@dataclass
class Hive:
    db: Database
    budget: Budget
    now: float = NOON
    changes: int = 0
    counted: list[Metered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin as a new daemon does."""
        self.holds = Holds()
        self.budgets = Budgets(
            self.db,
            self._settings,
            lambda: [ALICE],
            self.holds,
            clock=lambda: self.now,
            changed=self._change,
        )
        self.turns = TurnRecords(self.db, Metrics().turns, self.budgets.judge, clock=lambda: self.now)
        self.metered = MeteredTokens(
            self.db, "alice".__eq__, self.budgets.judge, lambda _, new: self.counted.append(new), lambda: self.now
        )

    async def _settings(self, _agent: AgentName) -> AgentSettings:
        return AgentSettings(budget=self.budget)

    def _change(self) -> None:
        self.changes += 1

    async def spent(self) -> dict[str, int]:
        return {agent: sums.spent for agent, sums in (await self.turns.day(self.now)).items()}


@pytest.fixture
def hive(db: Database) -> Hive:
    return Hive(db, Budget(tokens=1000))


async def test_a_report_that_comes_again_counts_once_also_after_a_restart_of_the_daemon(hive: Hive) -> None:
    for _ in range(2):
        await hive.metered.take(today(100, 20))
    hive.restart()
    await hive.metered.take(today(100, 20))
    await hive.metered.take(today(150, 30, requests=2))
    assert await hive.spent() == {"alice": 180}
    assert [new.input for new in hive.counted] == [100, 0, 50]


async def test_sums_of_a_hive_egress_that_lost_its_state_are_added(hive: Hive) -> None:
    await hive.metered.take(today(100, requests=9))
    await hive.metered.take(today(40))
    await hive.metered.take(today(60))
    assert await hive.spent() == {"alice": 160}


async def test_days_that_a_daemon_missed_are_taken_with_its_first_report_and_words_that_are_none_never(
    hive: Hive,
) -> None:
    await hive.metered.take(report(d2026_11_30=Metered(1, 1), d2026_11_28=Metered(1, 9), never=Metered(1, 7)))
    assert [new.input for new in hive.counted] == [1, 9]
    await hive.metered.take(report(d2026_11_28=Metered(2, 99)))
    assert len(hive.counted) == 2
    hive.now += DAY
    await hive.metered.take(today(70))  # what was answered around midnight
    hive.now -= DAY
    assert await hive.spent() == {"alice": 70}


async def test_a_budget_counts_what_was_metered_if_the_agent_claims_less_and_its_claim_if_that_is_more(
    hive: Hive,
) -> None:
    usage = Usage(runtime="claude", seconds=1.0, ending="ok", input_tokens=10, output_tokens=5)
    await hive.turns.record(ALICE, "log", 1, hive.now, usage)
    await hive.metered.take(today(600, 300))
    assert (await hive.spent(), hive.holds.held) == ({"alice": 900}, {})
    await hive.metered.take(today(700, 300, requests=2))
    assert hive.holds.held[ALICE] == "today's budget is used up: 1000 of 1000 tokens"
    assert hive.changes == 1
    hive.budget = Budget(tokens=2000)
    await hive.budgets.round()
    assert (hive.holds.held, hive.changes) == ({}, 2)
    await hive.turns.record(ALICE, "log", 2, hive.now, usage.model_copy(update={"input_tokens": 2000}))
    assert ALICE in hive.holds.held


async def test_turns_and_dollars_are_not_metered(hive: Hive) -> None:
    hive.budget = Budget(turns=1, dollars=0.01)
    await hive.metered.take(today(10**6))
    assert hive.holds.held == {}


async def test_the_next_day_opens_what_a_metered_budget_closed(hive: Hive) -> None:
    await hive.metered.take(today(1000))
    assert ALICE in hive.holds.held
    hive.now += DAY
    await hive.budgets.round()
    assert (hive.holds.held, await hive.spent()) == ({}, {})


async def test_a_purge_forgets_it(hive: Hive) -> None:
    await hive.metered.take(today(1000))
    await hive.turns.forget(ALICE)
    assert await hive.turns.metered(0.0) == {}
    await hive.db.write(lambda connection: rows.prune(connection, hive.now))
