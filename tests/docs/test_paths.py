"""Every file and test that the documentation names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PATH = re.compile(
    r"(?<![\w/.*])(?:meta|reconciler|harness|api|tests|nix|docs)/[\w./-]*\w\.(?:py|nix|md|json|toml|sh|yaml)\b"
)
FOLDER = re.compile(r"`((?:meta|reconciler|harness|api|tests|docs)/(?:[\w-]+/)*)`")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = set(PATH.findall(text(page)))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_folder_that_a_page_names_exists(page: Path) -> None:
    assert [folder for folder in FOLDER.findall(text(page)) if not (ROOT / folder).is_dir()] == []


def test_every_test_that_the_gotchas_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", text(ROOT / "docs/explanation/gotchas.md")))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 30
    assert sorted(named - defined) == []
