"""When the budget of a day is used up, and until when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from meta.agent_toml.settings import Budget
from reconciler.plan.budget import Sums, day_of, judge, midnight_after

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
ALL = Budget(turns=3, tokens=100, dollars=0.5)


def test_an_agent_without_a_budget_may_take_any_number_of_turns() -> None:
    assert judge(Budget(), Sums(10**9, 10**12, 1e6), NOON) is None


@pytest.mark.parametrize("sums", [Sums(2, 99, 0.49), Sums()])
def test_an_agent_below_each_limit_goes_on(sums: Sums) -> None:
    assert judge(ALL, sums, NOON) is None


@pytest.mark.parametrize(
    ("sums", "words"),
    [(Sums(3), "3 of 3 turns"), (Sums(tokens=100), "100 of 100 tokens"), (Sums(dollars=0.5), "$0.50 of $0.50")],
)
def test_one_limit_that_is_reached_holds_it_until_the_next_midnight_in_utc(sums: Sums, words: str) -> None:
    over = judge(ALL, sums, NOON)
    assert over is not None
    assert (over.until, over.reason) == (MIDNIGHT, f"today's budget is used up: {words}")


def test_every_limit_that_is_reached_is_named() -> None:
    over = judge(ALL, Sums(9, 900, 9.0), NOON)
    assert over is not None
    assert over.reason == "today's budget is used up: 9 of 3 turns, 900 of 100 tokens, $9.00 of $0.50"


def test_midnight_itself_belongs_to_the_new_day() -> None:
    assert midnight_after(MIDNIGHT - 1) == MIDNIGHT
    assert midnight_after(MIDNIGHT) == MIDNIGHT + 86_400
    assert day_of(MIDNIGHT) == day_of(MIDNIGHT - 1) + 1
