"""The figures beside a transcript."""

from __future__ import annotations

import pytest

from api.ui.pages.agent.figures import charts, ends_of
from meta.names import AgentName
from meta.wire.common import ApprovalEnd, LooseEnd, QuestionEnd, ReminderEnd
from reconciler.views import TurnUsage

ALICE = AgentName("alice")
NOW = 1_700_000_000.0 - 1_700_000_000.0 % 3_600 + 60


def turn(hours_ago: float, seconds: float = 60.0, cost: float | None = 1.0, tokens: int | None = 500) -> TurnUsage:
    return TurnUsage(NOW - hours_ago * 3_600, "claude", "opus", "bob", seconds, "ok", tokens, tokens, None, cost, {})


def test_turns_are_summed_by_the_hour_and_their_cost_over_the_day() -> None:
    tokens, cost, _ = charts([turn(0), turn(0), turn(1), turn(30)], NOW, 10.0)
    assert tokens.values[-2:] == (1_000.0, 2_000.0) and sum(tokens.values) == 3_000
    assert cost.values[-3:] == (0.0, 1.0, 3.0) and cost.limit == 10.0
    assert (cost.title, cost.figure) == ("Cost, limit $10 a day", "$3.00")


def test_the_time_of_the_last_ten_turns_is_in_their_order() -> None:
    *_, time = charts([turn(number, seconds=60.0 * number) for number in range(1, 13)], NOW, None)
    assert time.values == tuple(60.0 * number for number in range(10, 0, -1))
    assert time.figure == "median 5 min" and "longest 10 min" in time.words


@pytest.mark.parametrize("turns", [[], [turn(0, cost=None, tokens=None)], [turn(-5)]])
def test_what_is_not_reported_breaks_no_chart(turns: list[TurnUsage]) -> None:
    assert len(charts(turns, NOW, None)) == (3 if turns else 0)


def test_loose_ends_are_those_that_the_agent_waits_for_or_that_wait_for_it() -> None:
    ends: list[LooseEnd] = [
        ApprovalEnd(id=7, agent="alice", commit_ref="c", age_seconds=1),
        ApprovalEnd(id=8, agent="bob", commit_ref="c", age_seconds=1),
        QuestionEnd(id=18, asker="alice", question="q", age_seconds=1),
        QuestionEnd(id=19, asker="bob", target="alice", question="which\nencoding?", age_seconds=1),
        ReminderEnd(id=3, owner="alice", message="nightly report", due_at=99, age_seconds=1),
    ]
    assert [(end.what, end.text, end.at) for end in ends_of(ALICE, ends)] == [
        ("Proposal", "7 waits for you", None),
        ("Waits for", "question 18, asked of you", None),
        ("Asked by", "bob: which encoding?", None),
        ("Reminder", "nightly report", 99),
    ]
