"""What is said, as paragraphs: code in backticks and fenced blocks are code, all else is text. Pure.

This is no Markdown: an agent's words never become a link, an image or markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from api.ui.numbers import dollars, plural
from api.ui.times import span
from api.ui.transcript.items import Turn
from api.ui.transcript.tools import line
from meta.text import show_invisible

SHOWN = 6_000
"""Characters of a text that are shown at once; the rest loads when it is opened."""
BLOCKS = 60
"""Paragraphs and fenced blocks of a text that are shown at once."""
RUNS = 300
"""Stretches of text and of code in them that are shown at once: markup weighs more than its words."""
WHOLE_BLOCKS = 2_000
WHOLE_RUNS = 6_000
"""The same of a text that is loaded alone."""
LAST_MOST = 90
_FENCE = re.compile(r"^ {0,3}```[^\n`]*\n(.*?)(?:^ {0,3}```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of a paragraph; `code` is what stood between backticks."""

    text: str
    code: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph of runs, or (`code`) lines as they are."""

    runs: tuple[Run, ...]
    code: bool = False


def blocks(text: str, most: int = BLOCKS, runs: int = RUNS) -> tuple[tuple[Block, ...], int]:
    """Return the first paragraphs of a text, at most so many with so many runs, and how many characters are left out.

    The last one that fits may lack its end. Marks and empty lines between what is left out are not counted.
    """
    found: list[Block] = []
    left_out = 0
    for block in _blocks(show_invisible(text).strip("\n")):
        kept = block.runs[: max(0, runs)] if len(found) < most else ()
        runs -= len(kept)
        if kept:
            found.append(Block(kept, block.code))
        left_out += sum(len(run.text) for run in block.runs[len(kept) :])
    return tuple(found), left_out


def _blocks(text: str) -> Iterator[Block]:
    at = 0
    for fence in _FENCE.finditer(text):
        yield from _paragraphs(text[at : fence.start()])
        yield Block((Run(fence[1].rstrip("\n")),), code=True)
        at = fence.end()
    yield from _paragraphs(text[at:])


def _paragraphs(text: str) -> Iterator[Block]:
    for paragraph in re.split(r"\n[ \t]*\n", text):
        if paragraph.strip():
            yield Block(tuple(_runs(paragraph.strip("\n"))))


def _runs(text: str) -> Iterator[Run]:
    at = 0
    for code in _CODE.finditer(text):
        if code.start() > at:
            yield Run(text[at : code.start()])
        yield Run(code[1], code=True)
        at = code.end()
    if at < len(text):
        yield Run(text[at:])


def beginning(text: str, most: int = SHOWN) -> tuple[str, int]:
    """Return the beginning of a text, and how many characters are left out. It ends between lines if it can."""
    if len(text) <= most:
        return text, 0
    end = text.rfind("\n", most // 2, most)
    cut = text[: end if end > 0 else most]
    return cut, len(text) - len(cut)


def summary(turn: Turn) -> str:
    """Return a turn in a sentence: "Turn 40, 18 min, 61 calls, $1.84: “The order list is paged.”"."""
    if not turn.key:
        return f"A turn whose beginning is not kept any more, {plural(len(turn.items), 'event')}"
    parts = [f"Turn {turn.number}" if turn.number else "A turn", length(turn)]
    if not turn.ok:
        parts.append(line(turn.ending, 40) or "failed")
    elif turn.ended_at is None:
        parts.append("no end")
    words = line(turn.last_words, LAST_MOST)
    return f"{', '.join(parts)}{f': “{words}”' if words else ''}"


def length(turn: Turn) -> str:
    """Return how long a turn took, its calls and its cost: "18 min, 61 calls, $1.84"."""
    seconds = turn.seconds if turn.seconds is not None else (turn.ended_at or turn.at) - turn.at
    parts = [span(seconds), plural(turn.calls, "call")]
    if turn.cost is not None:
        parts.append(dollars(turn.cost))
    return ", ".join(parts)
