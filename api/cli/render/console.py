"""Write to stdout and stderr: text and tables for people, JSON for programs, two lines for an error.

An agent may have written any of it, so control characters are escaped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from api.cli.render import tables
from api.words import texts
from meta.errors import HiveError
from meta.text import show_invisible_in_json

_GOOD = {"running", "deployed", "approved"}
_BAD = {"failed", "rollback-failed", "crashed", "backing-off", "disagrees", "damaged", "denied", "unknown", "critical"}
_BUSY = {"starting", "draining", "switching", "destroying", "pending", "proposal", "building", "high"}


def write(text: str = "") -> None:
    """Write a line for people."""
    sys.stdout.write(texts.escape(text) + "\n")


def progress(text: str) -> None:
    """Write a line about the progress to stderr, apart from the result."""
    _write_stderr(texts.escape(text) + "\n")


def write_json(value: Any) -> None:
    """Write JSON for programs."""
    sys.stdout.write(_json(value, indent=2) + "\n")


def write_json_line(value: Any) -> None:
    """Write one object of a stream, on one line."""
    sys.stdout.write(_json(value) + "\n")


def _json(value: Any, indent: int | None = None) -> str:
    """Return JSON in characters that stdout can write."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    return show_invisible_in_json(json.dumps(value, indent=indent, ensure_ascii=encoding not in ("utf-8", "utf8")))


def _write_stderr(text: str) -> None:
    """Write to stderr. If that is closed or full the exit code still says what happened."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def flush() -> None:
    """Flush stdout, for a reader behind a pipe."""
    sys.stdout.flush()


def write_error(error: HiveError) -> None:
    """Write an error: one line about what is wrong, one line about what to do."""
    lines = [f"{_styled('hive:', '1;31', sys.stderr.isatty())} {_one_line(error.summary)}"]
    if error.hint:
        lines.append(f"  try: {_one_line(error.hint)}")
    _write_stderr("\n".join(lines) + "\n")


def _one_line(text: str) -> str:
    """Return `text` on one line. Its spaces stay, because they may be in a path."""
    return texts.escape(" ".join(line.strip() for line in text.strip().splitlines()))


def table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str, optional: Sequence[str] = ()
) -> None:
    """Write aligned columns, or `empty` if there are no rows.

    A table is never wider than the terminal: columns in `optional` are left out first, then the widest are cut.
    """
    texts_of_rows = cells(rows)
    if not texts_of_rows:
        write(empty)
        return
    style = colour if has_colours() else None
    head, *rest = tables.lines(headings, texts_of_rows, width=width(), optional=optional, style=style)
    sys.stdout.write("\n".join([_styled(head, "1", has_colours()), *rest]) + "\n")


def cells(rows: Iterable[Sequence[object]]) -> list[list[str]]:
    """Return values as they appear in a table: each on one line, control characters escaped."""
    return [[_cell(value) for value in row] for row in rows]


def width() -> int:
    """Return the width of the terminal; 0, which means no limit, if stdout is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Write a list of named values, without the empty ones."""
    shown = [(name, _cell(value)) for name, value in pairs if value not in (None, "", (), [])]
    longest = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        sys.stdout.write(f"{name.ljust(longest)}  {value}\n")


def patch(text: str) -> None:
    """Write a diff, coloured if stdout is a terminal."""
    in_colour = has_colours()
    for line in texts.escape(text).removesuffix("\n").split("\n"):
        style = ""
        if line.startswith(("+++", "---", "diff ")):
            style = "1"
        elif line.startswith(("+", "-", "@")):
            style = {"+": "32", "-": "31", "@": "36"}[line[0]]
        sys.stdout.write(_styled(line, style, in_colour and bool(style)) + "\n")


def heading(text: str) -> None:
    """Write a heading."""
    sys.stdout.write(_styled(texts.escape(text), "1", has_colours()) + "\n")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return texts.escape(" ".join(str(value).split()))


def colour(padded: str, word: str) -> str:
    """Return a padded cell of a table, in colour if `word` has one."""
    return _styled(padded, _style_of(word), True)


def _style_of(word: str) -> str:
    return "32" if word in _GOOD else "31" if word in _BAD else "33" if word in _BUSY else ""


def _styled(text: str, style: str, on: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if on and style else text


def has_colours() -> bool:
    """Return True if stdout is a terminal that has colours, and NO_COLOR is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
