"""Each sentence of the broker's contract names tests, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "broker.md").read_text(encoding="utf-8")
POINTS = re.findall(r"^- (.*?)(?=^- |^#|^$|\Z)", PAGE, re.MULTILINE | re.DOTALL)


def test_every_sentence_of_the_contract_names_a_test() -> None:
    assert len(POINTS) > 20
    assert [point for point in POINTS if not re.search(r"`test_\w+`", point)] == []


def test_every_test_that_the_contract_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert sorted(named - defined) == []
