"""The whole words that differ between two lines. Pure; a line of any length costs at most `MOST_WORDS` of work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.ui.diff.common import ends_in_common, in_common

MOST_WORDS = 400
"""Words of a line, without what both lines begin and end with, that are compared. More are marked as a whole."""

MOST_CHARACTERS = 20_000
"""Characters of a line that are divided into words. A longer one has no words marked."""

MOST_WORK = 40_000
"""Words of all lines of one answer that are compared. Behind them lines are marked as a whole."""

LEAST_ALIKE = 0.25
"""Share of the characters without spaces that lines have in common, below which no word is marked: all is new."""

Ranges = tuple[tuple[int, int], ...]
"""Places (first, behind the last) in a line, in order."""

_WORD = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(slots=True)
class Work:
    """How much of one answer may still be compared, in words, or pairs of lines that are looked at."""

    left: int = MOST_WORK

    def spend(self, amount: int) -> bool:
        """Take an amount. Return False, and take nothing, if no work is left."""
        if self.left <= 0:
            return False
        self.left -= amount
        return True


def split_words(text: str) -> list[str]:
    """Return the words, spaces and other characters that a line consists of."""
    return _WORD.findall(text)


def changed_words(old: str, new: str, work: Work | None = None) -> tuple[Ranges, Ranges]:
    """Return which places of the old line are gone and which of the new one are new; none if they are hardly alike.

    None either if no `work` is left. So the last pair of lines may take more than there was.
    """
    work = work or Work()
    if old == new or max(len(old), len(new)) > MOST_CHARACTERS or work.left <= 0:
        return (), ()
    before, after = split_words(old), split_words(new)
    work.spend(len(before) + len(after))
    same = _same(before, after)
    if _ink(before[left] for left, _ in same) < LEAST_ALIKE * max(_ink(before), _ink(after)):
        return (), ()
    return _gaps(before, [left for left, _ in same]), _gaps(after, [right for _, right in same])


def counted(text: str) -> Counter[str]:
    """Return how many characters of each word a line has, without spaces, whatever the order."""
    ink: Counter[str] = Counter()
    for word in split_words(text):
        if not word.isspace():
            ink[word] += len(word)
    return ink


def alike(old: Counter[str], new: Counter[str]) -> float:
    """Return the share of characters (0 to 1) that two lines, as `counted` returns them, have in common."""
    common = sum(min(ink, new[word]) for word, ink in old.items() if word in new)
    return common / (max(old.total(), new.total()) or 1)


def _same(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    first, last = ends_in_common(old, new)
    if max(len(old), len(new)) - first - last <= MOST_WORDS:
        return _joined(old, new, in_common(old, new))
    ends = [(at, at) for at in range(first)]
    return ends + [(len(old) - at, len(new) - at) for at in range(last, 0, -1)]


def _joined(old: Sequence[str], new: Sequence[str], same: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out what is the same by chance: single spaces and signs between two changes."""
    kept, at = [], 0
    while at < len(same):
        end = at + 1
        while end < len(same) and same[end] == (same[end - 1][0] + 1, same[end - 1][1] + 1):
            end += 1
        stretch = same[at:end]
        outside = (at == 0 and stretch[0] == (0, 0)) or stretch[-1] == (len(old) - 1, len(new) - 1)
        if outside or any(old[left].isidentifier() or old[left].isalnum() for left, _ in stretch) or end - at > 3:
            kept += stretch
        at = end
    return kept


def _ink(words: Iterable[str]) -> int:
    return sum(len(word) for word in words if not word.isspace())


def _gaps(words: Sequence[str], same: Sequence[int]) -> Ranges:
    """Return where the words stand that are not in `same`."""
    kept, place = set(same), 0
    gaps: list[tuple[int, int]] = []
    for at, word in enumerate(words):
        end = place + len(word)
        if at not in kept:
            if gaps and gaps[-1][1] == place:
                gaps[-1] = (gaps[-1][0], end)
            else:
                gaps.append((place, end))
        place = end
    return tuple(gaps)
