"""The longest common subsequence of two sequences, in bit-parallel steps (Hyyrö 2004).

It costs len(old) operations on integers of len(new) bits, whatever the sequences are: nobody can write a pair that is
slow to compare. `difflib` has no such bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence


def ends_in_common(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """Return how many elements are the same at the beginning, and of the others how many at the end."""
    most = min(len(old), len(new))
    first = next((at for at in range(most) if old[at] != new[at]), most)
    last = next((at for at in range(most - first) if old[-1 - at] != new[-1 - at]), most - first)
    return first, last


def in_common(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places of one longest common subsequence, as (place in old, place in new), in order."""
    first, last = ends_in_common(old, new)
    inner_old, inner_new = old[first : len(old) - last], new[first : len(new) - last]
    pairs = [(at, at) for at in range(first)]
    pairs += [(first + left, first + right) for left, right in _matches(inner_old, inner_new)]
    return pairs + [(len(old) - at, len(new) - at) for at in range(last, 0, -1)]


def _matches(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    if not old or not new:
        return []
    places: defaultdict[str, int] = defaultdict(int)
    for at, item in enumerate(new):
        places[item] |= 1 << at
    every = (1 << len(new)) - 1
    row, rows = every, []
    for item in old:  # bit j is 0 where the length grows between the first j and j+1 elements of `new`
        met = row & places[item]
        row = ((row + met) | (row - met)) & every
        rows.append(row)
    return _trace(rows, len(new))


def _trace(rows: Sequence[int], width: int) -> list[tuple[int, int]]:
    """Walk back through the rows: an element of `new` whose bit is set by this element of `old` belongs to it."""
    pairs = []
    left, right = len(rows) - 1, width - 1
    while left >= 0 and right >= 0:
        if rows[left] >> right & 1:  # no growth at this element of `new`
            right -= 1
        elif left > 0 and not rows[left - 1] >> right & 1:  # it grew there without this element of `old`
            left -= 1
        else:
            pairs.append((left, right))
            left, right = left - 1, right - 1
    pairs.reverse()
    return pairs
