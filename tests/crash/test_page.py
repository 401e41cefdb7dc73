"""The page of the crash matrix is the one that the step table gives."""

from __future__ import annotations

from tests.crash.page import PAGE, page


def test_the_page_of_the_crash_matrix_has_a_row_for_every_effect() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.crash.page`"
