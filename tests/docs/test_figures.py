"""`make bench` runs each bench."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.bench.__main__ import MEASURES

BENCHES = Path(__file__).parents[1] / "bench"
APART = {"peers"}
"""Benches that another target runs: `make bench-peers`."""


def test_make_bench_runs_each_module_that_measures() -> None:
    modules = {path.stem for path in BENCHES.glob("*.py") if "measure" in functions(path)}
    assert modules - APART == {measure.__module__.rpartition(".")[2] for measure in MEASURES}


def functions(path: Path) -> set[str]:
    """Return the names of the module's own functions."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
