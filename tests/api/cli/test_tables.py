"""Tables that fit: columns left out, cells cut, wide characters counted as they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.render import console, tables
from api.cli.render.screen import frame

ROWS = [["alice", "running", "3m", "a text that is long enough to be cut"], ["日本語の名前", "failed", "1d", "x"]]
HEADINGS = ["AGENT", "PHASE", "SINCE", "ABOUT"]


def test_without_a_limit_everything_is_shown_and_aligned() -> None:
    assert tables.lines(HEADINGS, ROWS) == [
        "AGENT         PHASE    SINCE  ABOUT",
        "alice         running  3m     a text that is long enough to be cut",
        "日本語の名前  failed   1d     x",
    ]


def test_optional_columns_go_first_then_the_widest_are_cut() -> None:
    shown = tables.lines(HEADINGS, ROWS, width=40, optional=["SINCE", "PHASE"])
    assert shown[0].split() == ["AGENT", "ABOUT"]
    assert shown[1] == "alice         a text that is long enoug…"
    assert tables.lines(HEADINGS, ROWS, width=61, optional=["SINCE", "PHASE"])[0].split() == ["AGENT", "PHASE", "ABOUT"]


@given(st.lists(st.lists(st.text(max_size=12), min_size=3, max_size=3), max_size=5), st.integers(1, 60))
def test_no_line_is_wider_than_the_terminal(rows: list[list[str]], room: int) -> None:
    clean = [[" ".join(cell.split()) for cell in row] for row in rows]
    for line in tables.lines(["A", "BB", "CCC"], clean, width=room, optional=["BB"]):
        assert tables.count_cells(line) <= room


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本", 4, "日本"),
        ("日本", 3, "日…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("ab", 0, ""),
    ],
)
def test_cutting_counts_cells_not_characters(text: str, room: int, shown: str) -> None:
    assert tables.cut(text, room) == shown


@pytest.mark.parametrize(
    ("variables", "colour"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], colour: bool
) -> None:
    monkeypatch.setattr("os.environ", {"TERM": "xterm", **variables})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert console.has_colours() is colour
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert console.has_colours() is False


def status(count: int) -> dict[str, object]:
    agent = {
        "phase": "running", "since": 0.0, "turn": "idle", "desired": "running", "deployed": 3, "in_flight": None,
        "sha": "1" * 40, "pending": [], "crashes": 0, "unread": 0, "pid": 7, "conditions": ["a \x1b[2J\nlook"],
    }  # fmt: skip
    agents = [{**agent, "agent": f"agent{number}"} for number in range(count)]
    return {"revision": "r1", "backend": "fake", "notes": ["a note"], "agents": agents}


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (20, 5), (1, 1), (200, 300)])
def test_a_picture_never_has_more_lines_or_cells_than_the_terminal(columns: int, rows: int) -> None:
    for found, why in ((status(40), ""), (status(1), "no daemon answers"), (None, "no daemon answers")):
        drawn = frame(found, why, columns, rows)
        assert 1 <= len(drawn) <= rows
        assert all(tables.count_cells(line) <= columns and "\x1b" not in line and "\n" not in line for line in drawn)


def test_a_picture_says_what_it_leaves_out() -> None:
    assert frame(status(40), "", 80, 24)[-1] == "... and 62 more lines"
    assert "agent0: a \\u001b[2J look" in frame(status(1), "", 80, 24)
