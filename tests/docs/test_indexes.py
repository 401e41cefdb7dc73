"""Every page is linked from an index page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LINK = re.compile(r"\]\(([\w./-]+\.md)")


def linked(index: Path) -> set[Path]:
    """The pages that an index page links."""
    return {(index.parent / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("folder", ["dashboard", "decisions", "howto"])
def test_the_index_of_a_folder_links_each_of_its_pages(folder: str) -> None:
    index = DOCS / folder / "README.md"
    assert sorted(set((DOCS / folder).glob("*.md")) - linked(index)) == [index]


def test_each_page_of_the_other_folders_is_linked_from_the_first_page() -> None:
    pages = {page for folder in ("explanation", "reference", "tutorial") for page in (DOCS / folder).glob("*.md")}
    assert sorted(pages - linked(DOCS / "README.md")) == []


def test_each_decision_has_a_number_of_its_own_and_a_status() -> None:
    pages = sorted((DOCS / "decisions").glob("0*.md"))
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert [int(text[2:].partition(".")[0]) for text in texts] == list(range(1, len(pages) + 1))
    assert [page.name for page, text in zip(pages, texts, strict=True) if "\n\nStatus: " not in text] == []
