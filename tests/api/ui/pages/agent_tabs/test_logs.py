"""The log of an agent: filtered by words and level, bounded, followed, and as a file."""

from __future__ import annotations

from markupsafe import escape

from api.ui.pages.agent_tabs.logs import LONG, SHOWN, TEXT, level_of, log_view
from meta.errors import TransientError
from meta.names import AgentName
from tests.api.ui.conftest import Ui
from tests.support.html_page import Page

PATH = "/agents/alice/logs"
HOSTILE = (
    'error: <script>alert(1)</script>"><img src=x onerror=alert(1)>{{7*7}}<hx-partial hx-target="#nav">\u202e\x1b[2J'
)


def give_log(ui: Ui, text: str) -> None:
    """Let alice's container have written this."""

    async def logs(_agent: AgentName, _lines: int = 50) -> str:
        return text

    ui.hive.fake.logs = logs  # type: ignore[assignment]


def test_a_level_is_a_word_of_the_line_and_not_a_part_of_one() -> None:
    assert [level_of(line) for line in ("ERROR no", "a warning", "terror", "fine")] == ["errors", "warnings", "", ""]


def test_a_filter_keeps_the_lines_with_the_words_that_are_as_bad_or_worse() -> None:
    text = "one\nwarn Two\nerror two\nthree\n"
    assert [line.text for line in log_view(text, "TWO", "").lines] == ["warn Two", "error two"]
    assert [line.text for line in log_view(text, "", "warnings").lines] == ["warn Two", "error two"]
    assert [line.kind for line in log_view(text, "", "errors").lines] == ["err"]


def test_the_newest_lines_are_shown_and_the_rest_is_counted() -> None:
    seen = log_view("".join(f"line {n}\n" for n in range(SHOWN + 3)), "", "")
    assert (seen.found, seen.left_out, seen.lines[-1].text) == (SHOWN + 3, 3, f"line {SHOWN + 2}")
    long = log_view("x" * (LONG + 7) + "\n", "", "").lines[0]
    assert (len(long.text), long.cut) == (LONG, 7)
    assert sum(len(escape(line.text)) for line in log_view(("<" * LONG + "\n") * SHOWN, "", "").lines) <= TEXT


async def test_a_log_is_read_again_while_it_is_followed(ui: Ui) -> None:
    give_log(ui, "first\n")
    page = await ui.get(f"{PATH}?q=first")
    assert "first" in page.text and "Stop following" in page.text and "?q=first&amp;follow=no" in page.text
    still = await ui.get(f"{PATH}?follow=no")
    assert ">Follow<" in still.text and "until you follow it" in still.text


async def test_an_empty_log_and_a_filter_that_fits_nothing_say_so(ui: Ui) -> None:
    give_log(ui, "")
    assert "The log is empty" in (await ui.get(PATH)).text
    give_log(ui, "first\n")
    ui.hive.fake.changes.note()
    assert "No line fits" in (await ui.get(f"{PATH}?q=second")).text


async def test_a_log_that_cannot_be_read_is_no_error_of_the_page(ui: Ui) -> None:
    async def logs(_agent: AgentName, _lines: int = 50) -> str:
        raise TransientError("the journal is busy")

    ui.hive.fake.logs = logs  # type: ignore[assignment]
    page = await ui.get(PATH)
    assert page.status_code == 200 and "the journal is busy" in page.text


async def test_the_file_has_the_log_as_it_was_written(ui: Ui) -> None:
    give_log(ui, HOSTILE)
    file = await ui.get(f"{PATH}/file")
    assert file.text == HOSTILE and file.headers["content-type"].startswith("text/plain")
    assert "alice.log" in file.headers["content-disposition"]


async def test_lines_are_text(ui: Ui) -> None:
    give_log(ui, HOSTILE)
    text = (await ui.get(PATH)).text
    page = Page(text)
    assert not [*page.all("img", "hx-partial")] and "\u202e" not in text and "\x1b" not in text
    (line,) = [each for each in page.all("span") if each.attributes.get("class") == "err"]
    assert line.text.startswith('error: <script>alert(1)</script>"><img') and line.text.endswith(r"\u202e\u001b[2J")
