"""How long a function may be, and how many parameters it may have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("meta", "reconciler", "harness", "api")
LINES, PARAMETERS = 45, 8
WIDER = {
    "api/cli/commands/conversations.py:messages",
    "api/cli/commands/messages.py:ask",
    "api/cli/commands/proposals.py:approve",
    "api/cli/commands/serve.py:serve",
}
"""A command has a parameter for each of its options."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    """Return each function by its place, like `meta/names.py:agent_name`."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, Function):
                    yield f"{place}:{node.name}", node


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters(function: Function) -> int:
    every = function.args
    names = [each.arg for each in (*every.posonlyargs, *every.args, *every.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_a_function_has_few_lines() -> None:
    assert not [place for place, function in functions() if lines(function) > LINES]


def test_a_function_has_few_parameters() -> None:
    assert {place for place, function in functions() if parameters(function) > PARAMETERS} == WIDER
