"""The rows of hunks as blocks: the same on both sides, or changed, with the lines that belong together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from api.ui.diff.lines import Line, Row, Token, shown
from api.ui.diff.words import Ranges, Work, alike, changed_words, counted

MOST_PAIRS = 400
"""Pairs of lines of one block that are compared with each other. Larger blocks pair their lines by their order."""

_LEAST = 0.5
"""Share of the characters that two lines have in common, from which one is taken for the other's new form."""

_MOST_OF_LINE = 200
"""Characters of a line that are looked at to find its pair."""

Tokens = Mapping[tuple[str, int], Sequence[Token]]
"""What is known of lines, by sign (+ for the new side, - for the old one) and number."""


@dataclass(frozen=True, slots=True)
class Same:
    """Lines that did not change."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """Removed and added lines. `left` and `right` hold the same side by side; None is no line."""

    removed: tuple[Line, ...]
    added: tuple[Line, ...]
    left: tuple[Line | None, ...]
    right: tuple[Line | None, ...]


def blocks(rows: Sequence[Row], tokens: Tokens, work: Work | None = None) -> Iterator[Same | Changed]:
    """Yield the blocks of rows that follow each other. Lines are compared as far as there is `work`."""
    at, work = 0, work or Work()
    while at < len(rows):
        end = at
        same = rows[at].sign == " "
        while end < len(rows) and (rows[end].sign == " ") is same:
            end += 1
        part = rows[at:end]
        if same:
            yield Same(tuple(shown(row, (), tokens.get(("+", row.new), ())) for row in part))
        else:
            old, new = ([row for row in part if row.sign == sign] for sign in "-+")
            yield _changed(old, new, tokens, work)
        at = end


def pairs_of(old: Sequence[str], new: Sequence[str], work: Work) -> list[tuple[int, int]]:
    """Return which removed line became which added one, as places, in order."""
    count = len(old) * len(new)
    if count > MOST_PAIRS or len(old) == len(new) == 1 or not work.spend(count):
        return [(at, at) for at in range(min(len(old), len(new)))]
    before, after = ([counted(text[:_MOST_OF_LINE]) for text in texts] for texts in (old, new))
    worth = [[alike(left, right) for right in after] for left in before]
    return _best(worth)


def _best(worth: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Return the pairs, in order, whose worth is the largest in sum. Worth below `_LEAST` counts for nothing."""
    height, width = len(worth), len(worth[0]) if worth else 0
    best = [[0.0] * (width + 1) for _ in range(height + 1)]
    for left in range(height - 1, -1, -1):
        for right in range(width - 1, -1, -1):
            value = worth[left][right]
            both = value + best[left + 1][right + 1] if value >= _LEAST else 0.0
            best[left][right] = max(both, best[left + 1][right], best[left][right + 1])
    pairs, left, right = [], 0, 0
    while left < height and right < width:
        if best[left][right] == best[left + 1][right]:
            left += 1
        elif best[left][right] == best[left][right + 1]:
            right += 1
        else:
            pairs.append((left, right))
            left, right = left + 1, right + 1
    return pairs


def _changed(old: Sequence[Row], new: Sequence[Row], tokens: Tokens, work: Work) -> Changed:
    pairs = pairs_of([row.text for row in old], [row.text for row in new], work) if old and new else []
    gone: dict[int, Ranges] = {}
    come: dict[int, Ranges] = {}
    for left, right in pairs:
        gone[left], come[right] = changed_words(old[left].text, new[right].text, work)
    removed = tuple(shown(row, gone.get(at, ()), tokens.get(("-", row.old), ())) for at, row in enumerate(old))
    added = tuple(shown(row, come.get(at, ()), tokens.get(("+", row.new), ())) for at, row in enumerate(new))
    return Changed(removed, added, *_beside(removed, added, pairs))


def _beside(
    removed: Sequence[Line], added: Sequence[Line], pairs: Sequence[tuple[int, int]]
) -> tuple[tuple[Line | None, ...], tuple[Line | None, ...]]:
    """Return both columns of one length, each pair beside each other."""
    left: list[Line | None] = []
    right: list[Line | None] = []
    at = (0, 0)
    for pair in (*pairs, (len(removed), len(added))):
        left += removed[at[0] : pair[0]]
        right += added[at[1] : pair[1]]
        most = max(len(left), len(right))
        left += [None] * (most - len(left))
        right += [None] * (most - len(right))
        left += removed[pair[0] : pair[0] + 1]
        right += added[pair[1] : pair[1] + 1]
        at = (pair[0] + 1, pair[1] + 1)
    return tuple(left), tuple(right)
