"""docs/explanation/isolation.md names tests that exist, and every test that tries to get out of a container."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/isolation.md").read_text(encoding="utf-8")
ATTEMPTS = PAGE.partition("## The escape tests")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in ATTEMPTS.splitlines() if line.startswith("| ")][1:]


def defined(path: Path) -> set[str]:
    """Return the tests of a file as the page names them."""
    names = re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {f"{path.relative_to(ROOT)}::{name}" for name in names}


def named(text: str) -> set[str]:
    return set(re.findall(r"`(tests/[\w/]+\.py::test_\w+)`", text))


def test_every_test_that_the_page_names_exists() -> None:
    assert len(named(PAGE)) > 25
    paths = {name.partition("::")[0] for name in named(PAGE)}
    assert named(PAGE) - set().union(*(defined(ROOT / path) for path in paths)) == set()


def test_every_escape_test_is_in_the_list() -> None:
    files = [*(ROOT / "tests/systemd/inside").glob("test_escape*.py")]
    assert len(files) >= 4
    assert set().union(*(defined(path) for path in files)) - named(ATTEMPTS) == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_attempt_has_a_test_on_each_backend_or_a_reason(row: list[str]) -> None:
    assert len(row) == 3
    for cell in row[1:]:
        assert named(cell) or re.match(r"none( yet)?: \w", cell), cell
