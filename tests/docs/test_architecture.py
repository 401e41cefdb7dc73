"""docs/explanation/architecture.md names every room of the house, and explains only words that the code uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("meta", "reconciler", "harness", "api")
ROOMS = sorted(
    str(path.parent.relative_to(ROOT)) for package in PACKAGES for path in ROOT.glob(f"{package}/*/__init__.py")
)
NAMED = re.findall(r"^\| `((?:meta|reconciler|harness|api)/\w+)` \|", PAGE, re.MULTILINE)
WORDS = re.findall(r"^\| ([a-z]+) \|", PAGE.partition("\n## Words\n")[2].partition("\n## ")[0], re.MULTILINE)


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_row(room: str) -> None:
    assert NAMED.count(room) == 1


def test_every_room_that_has_a_row_exists() -> None:
    assert sorted(NAMED) == ROOMS


def test_the_code_uses_every_word_of_the_glossary() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8") for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
    ).lower()
    words = [word for word in WORDS if word != "word"]
    assert len(words) > 20
    assert [word for word in words if not re.search(rf"\b{word}\b", code)] == []
