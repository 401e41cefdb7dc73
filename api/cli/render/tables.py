"""Tables and long lines, fitted to a width in terminal cells.

A character may take two cells (East Asian, most emoji) or none (combining marks), so nothing here counts characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from api.words.texts import escape

GAP = 2
MIN_WIDTH = 6
"""Cells that each column keeps if the table is too wide."""
INDENT = 2
"""Cells before the continuation of a wrapped line."""

Style = Callable[[str, str], str]
"""Takes a padded cell and its word; returns the cell in colour."""


def lines(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int = 0,
    optional: Sequence[str] = (),
    style: Style | None = None,
) -> list[str]:
    """Return the headings and one line per row, each at most `width` cells wide (0: no limit).

    To make it fit, the columns in `optional` are left out, in this order; then the widest columns are cut.
    """
    everything = [list(headings), *(list(row) for row in rows)]
    widths = [max(count_cells(line[at]) for line in everything) for at in range(len(headings))]
    shown = list(range(len(headings)))
    for name in optional:
        if not width or _total(widths, shown) <= width:
            break
        shown.remove(headings.index(name))
    if width:
        _narrow(widths, shown, width)
    return [_line(line, widths, shown, width, style if number else None) for number, line in enumerate(everything)]


def count_cells(text: str) -> int:
    """Return the number of terminal cells of `text`."""
    if text.isascii():
        return len(text)
    return sum(map(_cell_width, text))


def cut(text: str, width: int) -> str:
    """Return `text` in at most `width` cells. A text that is cut ends with an ellipsis."""
    if count_cells(text) <= width:
        return text
    taken, kept = 0, []
    for char in text:
        taken += _cell_width(char)
        if taken > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…" if width > 0 else ""


def _cell_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[at] for at in shown) + GAP * (len(shown) - 1)


def _narrow(widths: list[int], shown: Sequence[int], width: int) -> None:
    while (over := _total(widths, shown) - width) > 0:
        widest = max(shown, key=lambda at: widths[at])
        if widths[widest] <= MIN_WIDTH:
            return
        second = max((widths[at] for at in shown if at != widest), default=MIN_WIDTH)
        target = max(widths[widest] - over, min(second, widths[widest] - 1), MIN_WIDTH)
        widths[widest] = target


def _line(cells: Sequence[str], widths: Sequence[int], shown: Sequence[int], width: int, style: Style | None) -> str:
    parts, left = [], width
    for at in shown:
        most = min(widths[at], left) if width else widths[at]
        text = cut(cells[at], most)
        padded = text + " " * (most - count_cells(text)) if at != shown[-1] else text
        parts.append(style(padded, text) if style is not None else padded)
        left -= most + GAP
        if width and left <= 0:
            break
    return (" " * GAP).join(parts).rstrip()


def wrap(text: str, width: int) -> list[str]:
    """Return `text` in lines of at most `width` cells (0: one line), with control characters escaped.

    Lines are broken between words; a word that is longer than a line is broken anywhere.
    """
    words = escape(" ".join(text.split())).split()
    if not width:
        return [" ".join(words)]
    lines: list[str] = []
    line = ""
    for word in words:
        if line and count_cells(line) + 1 + count_cells(word) <= width:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
        line = ""
        for char in f"{_indent(lines, width)}{word}":
            if count_cells(line + char) > width:
                lines.append(line)
                line = _indent(lines, width)
            line += char
    return [*lines, line]


def _indent(lines: Sequence[str], width: int) -> str:
    return " " * INDENT if lines and width > 2 * INDENT else ""
