"""`make bench` runs each bench, and the page with the figures names benches that exist."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.bench.__main__ import MEASURES

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


def functions(path: Path) -> set[str]:
    """Return the names of the module's own functions."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
