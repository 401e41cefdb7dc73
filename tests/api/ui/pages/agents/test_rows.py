"""The rows of the page Agents: badges, filters, what an agent does in words, budgets, pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.ui.pages.agents.rows import CARE, IDLE, STOPPED, WORKING, fleet, row_of
from meta.names import AgentName, ProposalId
from reconciler.plan.phases import PHASES
from reconciler.views import AgentStatus, AgentUsage, BudgetUse, ModelUsage

ALICE = AgentName("alice")
IS = AgentStatus(ALICE, "agent", "running", 1.7e9, "idle", "running", "a" * 20, "1" * 40, None, None, (), 7, 0, 0)


@pytest.mark.parametrize(
    ("phase", "turn", "badge", "group", "verb"),
    [
        ("running", "idle", "ok", IDLE, "stop"),
        ("running", "thinking", "run", WORKING, "stop"),
        ("draining", "thinking", "run", WORKING, "stop"),
        ("stopped", None, "off", STOPPED, "start"),
        ("paused", "paused", "off", STOPPED, "resume"),
        ("needs-login", "needs-login", "warn", CARE, "login"),
        ("over-disk", None, "bad", CARE, "restart"),
        ("rollback-failed", None, "bad", CARE, "restart"),
    ],
)
def test_a_phase_has_a_colour_a_filter_and_a_next_action(
    phase: str, turn: str | None, badge: str, group: str, verb: str
) -> None:
    row = row_of(replace(IS, phase=phase, turn=turn), None)
    assert (row.badge, row.group, row.verb) == (badge, group, verb)


def test_every_phase_of_hive_that_is_no_rest_and_not_well_has_a_colour() -> None:
    plain = {phase for phase in PHASES if row_of(replace(IS, phase=phase), None).badge == "ok"}
    assert plain == {"running"}


def test_a_drain_for_a_deploy_says_what_comes_after_the_turn() -> None:
    row = row_of(replace(IS, phase="draining", turn="thinking", in_flight=ProposalId(12), turn_since=1.6e9), None)
    assert (row.now, row.small, row.small_at) == ("Finishes its turn, then deploy 12", "for ", 1.6e9)


def test_a_turn_stands_there_with_its_number_and_an_idle_agent_without() -> None:
    row = row_of(replace(IS, turn="thinking", turn_since=1.6e9, turn_number=41), None)
    assert (row.small, row.small_at) == ("turn 41, for ", 1.6e9)
    assert row_of(replace(IS, state_since=1.6e9), None).small == "for "


def test_the_words_of_a_gate_stay_the_same_while_its_seconds_run() -> None:
    one, two = (
        row_of(replace(IS, phase="starting", in_flight=ProposalId(3), reason=f"health, {left} s left: no hello"), None)
        for left in (41, 40)
    )
    assert one.now == two.now == "Deploy 3: No hello"


def test_an_idle_agent_says_which_proposal_of_it_waits() -> None:
    assert row_of(replace(IS, pending=(ProposalId(7),)), None).now == "Idle; proposal 7 waits for you"


@pytest.mark.parametrize(
    ("today", "budget", "limit"),
    [
        (BudgetUse(1, 100, 3.12), BudgetUse(dollars=10.0), "of $10"),
        (BudgetUse(9, 100, 1.0), BudgetUse(turns=10, dollars=4.0), "9 of 10 turns"),
        (BudgetUse(9, 100, 1.0), BudgetUse(), ""),
    ],
)
def test_the_cost_of_today_stands_before_the_limit_that_is_nearest(
    today: BudgetUse, budget: BudgetUse, limit: str
) -> None:
    row = row_of(IS, AgentUsage(ALICE, [], budget, today))
    assert (row.dollars, row.limit) == (today.dollars, limit)


def test_the_tokens_of_today_are_those_that_the_agent_claims_as_on_its_own_page() -> None:
    claimed = [ModelUsage("opus", 2, 0, 9.0, 70_000, 13_000, 5, 0.1)]
    row = row_of(IS, AgentUsage(ALICE, claimed, BudgetUse(), BudgetUse(2, 235_000, 0.1)))
    assert row.tokens == 83_000


def test_what_hive_waits_for_fits_beside_an_agent() -> None:
    draining = replace(IS, phase="draining", in_flight=ProposalId(10), turn_number=3)
    assert row_of(draining, None).now == "Finishes turn 3, then deploy 10"
    assert row_of(replace(IS, phase="over-budget", reason="as desired"), None).now == "Its budget is used up"


def test_an_agent_that_was_given_up_has_the_reason_without_the_command_of_its_button() -> None:
    row = row_of(replace(IS, phase="failed", reason="crashed 3 times in a row; `hive restart alice` tries again"), None)
    assert row.now == "Crashed 3 times in a row"


def test_a_page_has_fifty_agents_and_a_page_that_is_not_there_is_the_last() -> None:
    agents = [replace(IS, agent=AgentName(f"a{number}")) for number in range(120)]
    shown = fleet(agents, (), "", "", 9)
    assert (len(shown.rows), shown.page, shown.pages, shown.counts[""]) == (20, 3, 3, 120)


def test_a_search_and_a_filter_narrow_the_rows_but_not_the_counts() -> None:
    agents = [replace(IS, agent=AgentName(name), turn=turn) for name, turn in (("bob", "idle"), ("bea", "thinking"))]
    shown = fleet(agents, (), "B", WORKING, 1)
    assert [row.name for row in shown.rows] == ["bea"]
    assert (shown.counts[IDLE], shown.counts[WORKING]) == (1, 1)


def test_a_generation_is_the_id_that_runs_also_where_nothing_is_known_of_what_was_built() -> None:
    row = row_of(replace(IS, generation=None, deployed=ProposalId(4)), None)
    assert (row.generation, row.built, row.back) == ("4", "", True)
    assert row_of(replace(IS, generation="f" * 20), None).built == "f" * 20


@pytest.mark.parametrize("deployed", [None, 0])
def test_an_agent_that_had_only_its_first_files_cannot_be_rolled_back(deployed: int | None) -> None:
    assert not row_of(replace(IS, deployed=None if deployed is None else ProposalId(deployed)), None).back
