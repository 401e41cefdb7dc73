"""The log of an agent's container: the newest lines, filtered, followed while the page is open, and as a file."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from markupsafe import escape
from pydantic import Field

from api.operations.base import Call
from api.operations.lifecycle import Named
from api.operations.views import MAX_LINES, LogsInput, get_logs
from api.ui.acting import do
from api.ui.moment import Moment
from api.ui.page import Download, File, Region, Shown
from api.ui.pages.agent.head import read_head
from api.ui.pages.agent_tabs.tab import tab
from meta.errors import HiveError
from meta.text import show_invisible

LINES = 1_000
"""Lines that are read for the page. Of them those that fit are shown."""
SHOWN = 400
"""Lines that are shown, the newest ones."""
LONG = 500
"""Characters of a line that are shown. The file has all."""
TEXT = 90_000
"""Characters of HTML that are shown together: a page stays small."""
AGAIN = 2.0
"""Seconds after which the log is read again: a line of it is no change of hive."""

_ERROR = re.compile(r"\b(error|fatal|panic|traceback|exception|critical|failed)\b", re.IGNORECASE)
_WARNING = re.compile(r"\b(warn|warning)\b", re.IGNORECASE)
LEVELS = (("", "All"), ("warnings", "Warnings and errors"), ("errors", "Errors"))


class LogsTabInput(Named):
    """Which lines of the log of an agent."""

    q: str = Field("", max_length=200)
    level: Literal["", "warnings", "errors"] = ""
    follow: Literal["", "no"] = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line. `kind` is the class of its colour: err, or "". `cut`: the number of characters that are left out."""

    text: str
    kind: str
    cut: int


@dataclass(frozen=True, slots=True)
class LogView:
    """The lines that fit, oldest first. `found` of `read` lines fit, of which `left_out` are not shown."""

    lines: tuple[LogLine, ...]
    found: int
    read: int
    left_out: int


def level_of(line: str) -> str:
    """Return errors or warnings for a line that has a word of these, else ""."""
    if _ERROR.search(line):
        return "errors"
    return "warnings" if _WARNING.search(line) else ""


def log_view(text: str, find: str, level: str) -> LogView:
    """Return the lines of a log that have `find` in them and are of this level or worse."""
    lines = text.splitlines()
    found = [line for line in lines if find.casefold() in line.casefold() and _is_wanted(line, level)]
    shown: list[LogLine] = []
    size = 0
    for line in reversed(found[-SHOWN:]):
        made = LogLine(
            show_invisible(line[:LONG]), "err" if level_of(line) == "errors" else "", max(0, len(line) - LONG)
        )
        size += len(escape(made.text))
        if size > TEXT:
            break
        shown.append(made)
    return LogView(tuple(reversed(shown)), len(found), len(lines), len(found) - len(shown))


def _is_wanted(line: str, level: str) -> bool:
    return not level or level_of(line) == "errors" or level_of(line) == level


async def view(moment: Moment, asked: LogsTabInput) -> Shown:
    """Return the newest lines of the log."""
    head = await read_head(moment, asked.agent, "logs")
    problem, text = "", ""
    try:
        text = (await moment.ask(get_logs, LogsInput(agent=asked.agent, lines=LINES))).text
    except HiveError as error:
        problem = error.summary
    values = {
        "head": head,
        "asked": asked,
        "log": log_view(text, asked.q, asked.level),
        "levels": [(words, _href(asked, level=level), level == asked.level) for level, words in LEVELS],
        "toggle": _href(asked, follow="" if asked.follow else "no"),
        "problem": problem,
    }
    return Shown(values, f"Logs of {asked.agent}", None if asked.follow else AGAIN)


def _href(asked: LogsTabInput, **changed: str) -> str:
    """Return the path of this page with other fields."""
    fields = {"q": asked.q, "level": asked.level, "follow": asked.follow, **changed}
    query = urlencode({key: value for key, value in fields.items() if value})
    return f"/agents/{asked.agent}/logs{'?' + query if query else ''}"


async def download(call: Call, asked: Named) -> File:
    """Return the end of the log as a file."""
    logs = await do(call, get_logs, LogsInput(agent=asked.agent, lines=MAX_LINES))
    return File(f"{asked.agent}.log", "text/plain; charset=utf-8", _pieces([logs.text]))


async def _pieces(texts: Iterable[str]) -> AsyncIterator[str]:
    for text in texts:
        yield text


LOGS = tab(
    "logs",
    "Logs",
    LogsTabInput,
    view,
    Region("log-tools", "agent_tabs/logs_tools.html"),
    Region("log", "agent_tabs/logs_lines.html"),
)
DOWNLOADS = (Download("/agents/{agent}/logs/file", Named, download),)
