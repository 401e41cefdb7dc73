"""The lines of a hunk as they are shown: numbers, signs, changed words, tokens of the language. Pure.

A line that is very long is cut around its change, and each character without ink has its escape and its name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from api.ui.diff.words import Ranges
from meta.text import CATEGORIES, is_invisible, show_invisible

LINE_MOST = 600
"""Characters of a line that are shown."""

INVISIBLE_MOST = 16
"""Characters without ink in a line that are shown, each with its name. The line is cut behind them."""

_BEFORE = 60
"""Characters shown before the first change of a line that is cut."""

_ODD = re.compile(r"[^\t\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters of one kind. `token` is a class of style.css ("" for none), `title` the name of what has no ink."""

    text: str
    token: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pieces that stand together. `tag` is ins or del if they changed, else ""."""

    tag: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `kind` is a (added), d (removed) or "", `old` and `new` are its numbers or "".

    `stretches` is what it holds; `note` is what is said about it behind that, in words.
    """

    kind: str
    old: str
    new: str
    stretches: tuple[Stretch, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """Characters of a line (first, behind the last) with a class of style.css."""

    first: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a hunk with its numbers: `sign` is a space, + or -. `open`: it has no line end."""

    sign: str
    old: int
    new: int
    text: str
    open: bool = False


def numbered(rows: Sequence[str], old: int, new: int) -> Iterator[Row]:
    """Yield the rows of a hunk that begins at the line `old` of one side and `new` of the other."""
    for at, row in enumerate(rows):
        sign = row[:1] or " "
        if sign == "\\":
            continue
        yield Row(sign, old, new, row[1:], rows[at + 1 : at + 2] != () and rows[at + 1].startswith("\\"))
        old += sign != "+"
        new += sign != "-"


def shown(row: Row, changed: Ranges = (), tokens: Sequence[Token] = ()) -> Line:
    """Return a row as it is shown, with the places `changed` marked."""
    kind = {"+": "a", "-": "d"}.get(row.sign, "")
    old = "" if kind == "a" or row.old < 1 else str(row.old)
    new = "" if kind == "d" or row.new < 1 else str(row.new)
    text, start, cut = _window(row.text, changed)
    hidden = ", changed ones among them" if changed and changed[-1][1] > start + len(text) else ""
    notes = [f"… {cut:,} more characters{hidden}" if cut else "", "no line end" if row.open else ""]
    stretches = list(_stretches(text, start, {"a": "ins", "d": "del"}.get(kind, ""), changed, tokens))
    if start:
        stretches.insert(0, Stretch("", (Piece(f"{start:,} characters … ", "q"),)))
    return Line(kind, old, new, tuple(stretches), ", ".join(filter(None, notes)))


def visible(text: str) -> str:
    """Return a name on one line, with what has no ink as escapes."""
    return show_invisible(text).replace("\n", "\\n").replace("\t", "\\t")


def _window(text: str, changed: Ranges) -> tuple[str, int, int]:
    """Return the part of a line that is shown, how many characters stand before it, and how many behind it."""
    if len(text) <= LINE_MOST:
        part = _with_few_invisible(text)
        return part, 0, len(text) - len(part)
    first = changed[0][0] if changed else 0
    start = first - _BEFORE if first > LINE_MOST - _BEFORE else 0
    part = _with_few_invisible(text[start : start + LINE_MOST])
    return part, start, len(text) - start - len(part)


def _with_few_invisible(text: str) -> str:
    """Return the beginning of a text that has at most `INVISIBLE_MOST` characters without ink."""
    if text.isascii() and text.isprintable():
        return text
    odd = (match.start() for match in _ODD.finditer(text) if is_invisible(match[0]))
    return text[: next(islice(odd, INVISIBLE_MOST, None), len(text))]


def _stretches(text: str, start: int, tag: str, changed: Ranges, tokens: Sequence[Token]) -> Iterator[Stretch]:
    """Divide a text, which begins at the character `start` of its line, by what changed and by its tokens."""
    place, end = start, start + len(text)
    for first, behind in changed:
        first, behind = max(first, start), min(behind, end)
        if first >= behind:
            continue
        if place < first:
            yield Stretch("", tuple(_pieces(text, start, place, first, tokens)))
        yield Stretch(tag, tuple(_pieces(text, start, first, behind, tokens)))
        place = behind
    if place < end or place == start:
        yield Stretch("", tuple(_pieces(text, start, place, end, tokens)))


def _pieces(text: str, start: int, first: int, end: int, tokens: Iterable[Token]) -> Iterator[Piece]:
    for token in tokens:
        if token.end <= first or token.first >= end:
            continue
        if first < token.first:
            yield from _inked(text[first - start : token.first - start])
        behind = min(token.end, end)
        yield from _inked(text[max(first, token.first) - start : behind - start], token.name)
        first = behind
    if first < end:
        yield from _inked(text[first - start : end - start])


def _inked(text: str, token: str = "") -> Iterator[Piece]:
    """Yield a text in pieces, in which each invisible character is one of its own."""
    place = 0
    for match in _ODD.finditer(text):
        if not is_invisible(match[0]):
            continue
        if place < match.start():
            yield Piece(text[place : match.start()], token)
        yield Piece(show_invisible(match[0]), "inv", _name(match[0]))
        place = match.end()
    if place < len(text):
        yield Piece(text[place:], token)


@lru_cache(4096)
def _name(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, CATEGORIES.get(unicodedata.category(char), ''))}"
