"""Keys of events: each is made in one module and stands in the table of docs/reference/events.md."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.names import AgentName, ProposalId
from reconciler.store.events import keys, log

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "reference" / "events.md"
MODULES = sorted(path for path in (ROOT / "reconciler").rglob("*.py") if path != Path(keys.__file__))


def forms() -> set[str]:
    """Return what each function of keys makes, with the names of its parameters in place of values."""
    functions = [function for _, function in inspect.getmembers(keys, inspect.isfunction)]
    made = set()
    for function in functions:
        names = inspect.signature(function).parameters
        made.add(function(*([f"<{name}>"] if name == "ids" else f"<{name}>" for name in names)))
    return {form for form in made if not form.endswith(":")}


def keys_made_in(source: str) -> Iterator[str]:
    """Find calls of Key and Prefix, and texts that are given as the key of an appended event."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name.split(".")[-1] in ("Key", "Prefix"):
            yield ast.unparse(node)
        elif name.split(".")[-1] in ("append", "notify"):
            yield from (
                ast.unparse(each.value)
                for each in node.keywords
                if each.arg == "key" and isinstance(each.value, (ast.JoinedStr, ast.Constant))
            )


def test_every_key_is_in_the_table_of_the_reference() -> None:
    documented = set(re.findall(r"^\| `([a-z-]+:\S+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == forms()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_makes_a_key(path: Path) -> None:
    assert list(keys_made_in(path.read_text(encoding="utf-8"))) == []


def test_a_key_that_is_made_elsewhere_is_found() -> None:
    source = 'await self.events.append("x", agent, {}, key=f"x:{agent}")\nkey = keys.Key("y")'
    assert sorted(keys_made_in(source), reverse=True) == ["keys.Key('y')", "f'x:{agent}'"]


def test_the_family_of_an_agent_does_not_reach_agents_whose_names_begin_alike() -> None:
    first, end = log.range_of(keys.cards_of(AgentName("al")))
    assert first <= keys.card(AgentName("al"), ProposalId(7), "denied") < end
    assert not first <= keys.card(AgentName("al-2"), ProposalId(7), "denied") < end
    assert not first <= keys.card(AgentName("alice"), ProposalId(7), "denied") < end
