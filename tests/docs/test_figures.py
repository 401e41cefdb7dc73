"""`make bench` runs each bench, and the page with the figures names benches that exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.bench.__main__ import MEASURES
from tests.bench.baseline.rounds import Aim, Row, table

BENCHES = Path(__file__).parents[1] / "bench"
PAGE = Path(__file__).parents[2] / "docs/reference/figures.md"
APART = {"peers"}
"""Benches that another target runs: `make bench-peers`."""


def test_make_bench_runs_each_module_that_measures() -> None:
    modules = {path.stem for path in BENCHES.glob("*.py") if "measure" in functions(path)}
    assert modules - APART == {measure.__module__.rpartition(".")[2] for measure in MEASURES}


def test_each_value_on_the_page_is_of_a_bench_that_make_bench_runs() -> None:
    table = PAGE.read_text().partition("## Values")[2].partition("\n## ")[0]
    benches = {line.split("`")[1].split()[0] for line in table.splitlines() if line.startswith("| `")}
    assert benches
    assert benches <= {measure.__module__.rpartition(".")[2] for measure in MEASURES}


@pytest.mark.parametrize(
    ("aim", "today", "met"),
    [
        (Aim(least=2.5), (20.0, 24.0, 26.0), True),
        (Aim(least=2.5), (20.0, 24.0, 24.9), False),
        (Aim(most=0.5), (4.9, 6.0, 7.0), True),
        (Aim(most=0.5), (5.1, 6.0, 7.0), False),
        (Aim(), (1.0, 1.0, 1.0), True),
    ],
)
def test_an_aim_is_missed_only_if_every_round_is_beyond_it(aim: Aim, today: tuple[float, ...], met: bool) -> None:
    row = Row("messages", "/s", today, (10.0, 10.0, 10.0), "4adf687", aim)
    assert row.met is met
    assert row.cells()[-1] == ("" if aim == Aim() else "met" if met else "MISSED")


def test_a_row_of_the_table_has_both_medians_and_the_ratios_with_their_spread() -> None:
    row = Row("messages", "/s", (20.0, 30.0, 40.0), (10.0, 20.0, 10.0), "4adf687", Aim(least=2.5))
    assert table([row]).splitlines()[-1] == (
        "| messages | 30 /s | 10 /s (4adf687) | 2.00x (1.50 to 4.00) | ≥ 2.5x | met |"
    )


def functions(path: Path) -> set[str]:
    """Return the names of the module's own functions."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
