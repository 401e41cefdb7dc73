"""docs/explanation/commit-protocol.md defines every step code that the code cites, and names its effects."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.plan.steps import COMMANDS, STEPS, Step

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "commit-protocol.md").read_text(encoding="utf-8")
CODE = re.compile(r"\b(?:[AP][1-9][0-9]?|F(?=[:)]))(?![\w'])")
ROWS = {row.split("|")[1].strip(" *"): row for row in PAGE.splitlines() if re.match(r"\| \**[APF]\d*\** \|", row)}
CITED = [step for step in STEPS if CODE.search(step.__doc__ or "")]


def prose(path: Path) -> Iterator[str]:
    """Yield the comments, the docstrings and the strings that stand alone as statements, if one may cite a step."""
    source = path.read_text(encoding="utf-8")
    if not CODE.search(source):
        return  # to part all sources into tokens takes 20 s
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@pytest.mark.parametrize("room", ["meta", "reconciler", "api", "harness", "tests"])
def test_every_step_code_that_a_comment_or_a_docstring_cites_has_a_row(room: str) -> None:
    cited = {
        (code, str(path.relative_to(ROOT)))
        for path in (ROOT / room).rglob("*.py")
        if path != Path(__file__)
        for text in prose(path)
        for code in CODE.findall(text)
    }
    assert {(code, path) for code, path in cited if code not in ROWS} == set()


def test_the_code_cites_the_steps_of_a_deploy() -> None:
    assert len(CITED) >= 9


@pytest.mark.parametrize("step", CITED)
def test_the_row_of_a_step_names_the_effects_of_that_step(step: type[Step]) -> None:
    rows = "".join(ROWS[code] for code in CODE.findall(step.__doc__ or ""))
    assert [effect for effect in step.effects if f"`{effect}`" not in rows] == []


@pytest.mark.parametrize("command", ["propose", "approve", "deny", "cancel", "rollback", "spawn"])
def test_the_page_names_the_effects_of_the_commands_about_a_proposal(command: str) -> None:
    assert [effect for effect in COMMANDS[command] if f"`{effect}`" not in PAGE] == []


def test_the_page_names_no_effect_that_is_not_in_the_table() -> None:
    effects = {effect for names in (*(step.effects for step in STEPS), *COMMANDS.values()) for effect in names}
    named = {word for row in ROWS.values() for word in re.findall(r"`([a-z-]+)`", row.split("|")[4])}
    assert named - effects == set()


def test_every_function_that_the_page_names_beside_its_file_is_there() -> None:
    named = re.findall(r"`([\w.]+)` \(`([\w/]+\.py)`\)", PAGE)
    assert len(named) > 10
    for function, path in named:
        if (ROOT / path).exists():
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert function.rpartition(".")[2] in defined, f"{path} has no {function}"
