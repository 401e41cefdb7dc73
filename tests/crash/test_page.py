"""The page of the crash matrix has a row for every effect, and says what the tests demand."""

from __future__ import annotations

from tests.crash.scenarios import ALL
from tests.crash.table import PAGE, Seen, page


def demanded() -> Seen:
    """What every cell with one kill must end as."""
    return {
        (scenario.name, failpoint, 1): scenario.expected(failpoint)
        for scenario in ALL
        for failpoint in scenario.failpoints
    }


def without_second_kills(text: str) -> list[str]:
    """The page's lines; of rows with six columns only the first four, as the rest is what one long run saw."""
    return ["|".join(line.split("|")[:5]) if line.count("|") > 6 else line for line in text.splitlines()]


def test_the_page_of_the_crash_matrix_has_a_row_for_every_effect() -> None:
    there = PAGE.read_text(encoding="utf-8")
    assert without_second_kills(there) == without_second_kills(page(demanded())), "run `python -m tests.crash.table`"
