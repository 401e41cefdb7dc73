"""How things are printed: aligned columns for people, JSON for programs, two lines for an error.

What is printed may have been written by an agent, so nothing in it reaches the terminal as a control sequence.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from api.cli.render import tables
from meta.errors import HiveError
from meta.invisible import show_invisible, show_invisible_in_json

_GOOD = {"running", "deployed", "approved"}
_BAD = {"failed", "rollback-failed", "crashed", "backing-off", "disagrees", "denied", "unknown"}
_BUSY = {"starting", "draining", "switching", "destroying", "pending", "proposal", "building"}


def clean(text: str) -> str:
    """`text` with what a terminal obeys or does not show as escapes; only a line feed ends a line."""
    return show_invisible(text)


def say(text: str = "") -> None:
    """Print for people."""
    sys.stdout.write(clean(text) + "\n")


def progress(text: str) -> None:
    """Print what is going on, beside the result."""
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def say_json(value: Any) -> None:
    """Print for programs."""
    sys.stdout.write(show_invisible_in_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def say_json_line(value: Any) -> None:
    """Print one object of a stream, on one line."""
    sys.stdout.write(show_invisible_in_json(json.dumps(value, ensure_ascii=False)) + "\n")


def flush() -> None:
    """Let a reader behind a pipe have it now."""
    sys.stdout.flush()


def say_error(error: HiveError) -> None:
    """One line of what, one line of what to do."""
    what = " ".join(clean(error.summary).split())
    sys.stderr.write(f"{_styled('hive:', '1;31', sys.stderr.isatty())} {what}\n")
    if error.hint:
        sys.stderr.write(f"  try: {' '.join(clean(error.hint).split())}\n")


def table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str, optional: Sequence[str] = ()
) -> None:
    """Aligned columns; `empty` is said when there are no rows.

    On a terminal it is never wider than that: columns named in `optional` are left out first, then the widest are cut.
    """
    cells = cells_of(rows)
    if not cells:
        say(empty)
        return
    head, *rest = tables.lines(headings, cells, room=room(), optional=optional, style=coloured if colourful() else None)
    sys.stdout.write("\n".join([_styled(head, "1", colourful()), *rest]) + "\n")


def cells_of(rows: Iterable[Sequence[object]]) -> list[list[str]]:
    """Values as they stand in a table: on one line, nothing in them that a terminal obeys."""
    return [[_cell(value) for value in row] for row in rows]


def room() -> int:
    """The terminal's width; 0 when this is none, which is as wide as one likes."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """A list of named values; empty ones are left out."""
    shown = [(name, _cell(value)) for name, value in pairs if value not in (None, "", (), [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        sys.stdout.write(f"{name.ljust(width)}  {value}\n")


def patch(text: str) -> None:
    """A diff, coloured on a terminal."""
    colour = colourful()
    for line in clean(text).removesuffix("\n").split("\n"):
        style = ""
        if line.startswith(("+++", "---", "diff ")):
            style = "1"
        elif line.startswith(("+", "-", "@")):
            style = {"+": "32", "-": "31", "@": "36"}[line[0]]
        sys.stdout.write(_styled(line, style, colour and bool(style)) + "\n")


def heading(text: str) -> None:
    """A heading between parts of an answer."""
    sys.stdout.write(_styled(clean(text), "1", colourful()) + "\n")


def when(at: float | None) -> str:
    """A Unix time as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else ""


def ago(at: float | None) -> str:
    """How long ago a Unix time was, in one unit."""
    if at is None:
        return ""
    seconds = max(0, int(time.time() - at))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def short(commit: str | None) -> str:
    """A commit as people write it."""
    return (commit or "")[:12]


def first_line(text: str | None) -> str:
    """What fits in a table."""
    return (text or "").strip().split("\n", 1)[0]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return " ".join(clean(str(value)).split())


def coloured(padded: str, word: str) -> str:
    """A cell of a table; some words have a colour."""
    return _styled(padded, _style_of(word), True)


def _style_of(word: str) -> str:
    return "32" if word in _GOOD else "31" if word in _BAD else "33" if word in _BUSY else ""


def _styled(text: str, style: str, on: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if on and style else text


def colourful() -> bool:
    """Whether to colour: a terminal that can, and nobody said NO_COLOR."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
