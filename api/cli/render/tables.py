"""Aligned columns as lines of text, fitted to a width in terminal cells. Pure.

A character may take two cells (East Asian, most emoji) or none (combining marks), so nothing here counts characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

GAP = 2
NARROWEST = 6
"""Cells that a column keeps when there is too little room for all."""

Style = Callable[[str, str], str]
"""The text of a cell, padded, and its word -> the same with colour."""


def lines(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    room: int = 0,
    optional: Sequence[str] = (),
    style: Style | None = None,
) -> list[str]:
    """The heading and one line per row, none wider than `room` cells (0: as wide as it gets).

    What does not fit: first the columns named in `optional` go, in that order; then the widest are cut.
    """
    everything = [list(headings), *(list(row) for row in rows)]
    widths = [max(width(line[at]) for line in everything) for at in range(len(headings))]
    shown = list(range(len(headings)))
    for name in optional:
        if not room or _total(widths, shown) <= room:
            break
        shown.remove(headings.index(name))
    if room:
        _narrow(widths, shown, room)
    return [_line(line, widths, shown, room, style if number else None) for number, line in enumerate(everything)]


def width(text: str) -> int:
    """How many cells of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def cut(text: str, room: int) -> str:
    """`text` in at most `room` cells; where something is missing it ends with an ellipsis."""
    if width(text) <= room:
        return text
    taken, kept = 0, []
    for char in text:
        taken += _cells(char)
        if taken > room - 1:
            break
        kept.append(char)
    return "".join(kept) + "…" if room > 0 else ""


def _cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[at] for at in shown) + GAP * (len(shown) - 1)


def _narrow(widths: list[int], shown: Sequence[int], room: int) -> None:
    while (over := _total(widths, shown) - room) > 0:
        widest = max(shown, key=lambda at: widths[at])
        if widths[widest] <= NARROWEST:
            return
        second = max((widths[at] for at in shown if at != widest), default=NARROWEST)
        target = max(widths[widest] - over, min(second, widths[widest] - 1), NARROWEST)
        widths[widest] = target


def _line(cells: Sequence[str], widths: Sequence[int], shown: Sequence[int], room: int, style: Style | None) -> str:
    parts, left = [], room
    for at in shown:
        most = min(widths[at], left) if room else widths[at]
        text = cut(cells[at], most)
        padded = text + " " * (most - width(text)) if at != shown[-1] else text
        parts.append(style(padded, text) if style is not None else padded)
        left -= most + GAP
        if room and left <= 0:
            break
    return (" " * GAP).join(parts).rstrip()
