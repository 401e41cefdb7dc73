"""The examples of docs/reference/scopes.md are what a scope decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.scope.rules import Rule, Scope
from meta.wire.pod import Permission

PAGE = Path(__file__).parents[2] / "docs/reference/scopes.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("| allow | deny |")[2].partition("\n\n")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines()[2:]]


def rules(cell: str) -> tuple[Rule, ...]:
    """Return the rules of a cell like `write /w`, `read /x [non-recursive]`."""
    found = [text.strip("`").split() for text in cell.split(", ") if text]
    return tuple(Rule(words[1], Permission(words[0]), recursive=len(words) == 2) for words in found)


@pytest.mark.parametrize(("allow", "deny", "path", "may"), ROWS)
def test_each_example_is_what_a_scope_decides(allow: str, deny: str, path: str, may: str) -> None:
    assert (Scope(rules(allow), rules(deny)).permission(path.strip("`")) or "nothing") == may


def test_there_are_examples() -> None:
    assert len(ROWS) > 8
