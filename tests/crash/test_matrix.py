"""The crash matrix: SIGKILL before and after every effect of every step; a restart must end in a named outcome.

The cells are generated from the step table (reconciler/plan/steps.py) and the scenarios. Each kills the real daemon
with backend `local`, real git and real processes. Afterwards meta, the applied tags, the containers and the store must
agree, nothing may be left over, and who was not concerned must be the same process as before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.apply.effects import EFFECTS, FAILPOINTS
from reconciler.plan.steps import OPERATIONS
from tests.crash import agreement
from tests.crash.cell import Cell, Scenario
from tests.crash.scenarios import ALL, SHORT
from tests.support.lab import Lab

pytestmark = pytest.mark.bwrap

Seen = Callable[[str, str, int, str], None]
ROOT = Path(__file__).parents[2]
LEAVE_BEHIND = {"purge-directories", "seed"}
SOURCES = [path for name in ("meta", "reconciler", "api") for path in (ROOT / name).rglob("*.py")]


def test_every_effect_of_the_step_table_has_a_scenario_that_reaches_it() -> None:
    assert set(SHORT) == EFFECTS


def test_every_effect_and_every_outcome_of_a_kill_in_it_is_seen_in_every_run() -> None:
    short = {failpoint for failpoint in FAILPOINTS if is_short(failpoint)}
    assert {failpoint.partition(":")[0] for failpoint in short} == EFFECTS
    for effect, scenario in SHORT.items():
        own = {point for point in scenario.failpoints if point.startswith(f"{effect}:")}
        assert {scenario.expected(point) for point in own & short} == {scenario.expected(point) for point in own}


def test_every_operation_in_the_code_is_in_the_table_and_the_other_way_round() -> None:
    texts = [path.read_text(encoding="utf-8") for path in SOURCES]
    literal = {name for text in texts for name in re.findall(r'\boperation\("([a-z-]+)"\)', text)}
    tabled = {name for names in OPERATIONS.values() for name in names}
    assert literal <= tabled
    assert tabled - literal <= {
        "applied",
        "proposed",
        "agents",
        "generations",
        "roots",
        "state",
        "home",
        "mcp",
        "harness",
    }


def is_short(failpoint: str) -> bool:
    """Return True if every run kills here.

    That is after each effect, before it if that has another outcome, and after the first of the operations inside.
    Where half of the work would leave files or a repo behind, it is after each operation.
    """
    effect, _, place = failpoint.partition(":")
    scenario = SHORT[effect]
    if effect in LEAVE_BEHIND:
        return place != "before" or scenario.expected(failpoint) != scenario.expected(f"{effect}:after")
    if place == "before":
        return scenario.expected(failpoint) != scenario.expected(f"{effect}:after")
    return place in ("after", *OPERATIONS.get(effect, ())[:1])


@pytest.mark.parametrize("failpoint", [point for point in FAILPOINTS if is_short(point)])
def test_a_kill_ends_in_a_named_outcome(lab: Lab, seen: Seen, failpoint: str) -> None:
    once(lab, seen, SHORT[failpoint.partition(":")[0]], failpoint)


def cells(*, again: bool) -> list[pytest.ParameterSet]:
    """Every failpoint of every scenario, but for what the short run does."""
    return [
        pytest.param(scenario, failpoint, id=f"{scenario.name.replace(' ', '-')}-{failpoint}")
        for scenario in ALL
        for failpoint in scenario.failpoints
        if again or SHORT[failpoint.partition(":")[0]] is not scenario or not is_short(failpoint)
    ]


@pytest.mark.full
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("scenario", "failpoint"), cells(again=False))
def test_a_kill_in_any_scenario_ends_in_a_named_outcome(
    lab: Lab, seen: Seen, scenario: Scenario, failpoint: str
) -> None:
    once(lab, seen, scenario, failpoint)


@pytest.mark.full
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("scenario", "failpoint"), cells(again=True))
def test_a_second_kill_at_the_same_place_ends_in_a_named_outcome(
    lab: Lab, seen: Seen, scenario: Scenario, failpoint: str
) -> None:
    cell = Cell(lab, scenario, failpoint)
    cell.strike()
    cell.strike_again()
    outcome = cell.recover()
    seen(scenario.name, failpoint, 2, outcome)
    assert outcome == scenario.expected(failpoint) or outcome.startswith("failed")
    agreement.check(lab, cell.before, cell.agent, cell.stays)
    tidy(cell)


def once(lab: Lab, seen: Seen, scenario: Scenario, failpoint: str) -> None:
    cell = Cell(lab, scenario, failpoint)
    cell.strike()
    outcome = cell.recover()
    seen(scenario.name, failpoint, 1, outcome)
    assert outcome == scenario.expected(failpoint)
    agreement.check(lab, cell.before, cell.agent, cell.stays)
    tidy(cell)


def tidy(cell: Cell) -> None:
    """Make the hive as it was, for the next cell."""
    cell.scenario.tidy(cell)
    agents = cell.lab.agents()
    assert {name: row["phase"] for name, row in agents.items()} == dict.fromkeys(("alice", "bob", "manager"), "running")
