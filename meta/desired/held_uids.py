"""The uids that this host holds for others: its users and groups, and the ranges that it gave to users and engines.

LXD, podman and docker note in /etc/subuid and /etc/subgid what they map into containers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FIELDS = (("passwd", 2), ("group", 2), ("subuid", 1), ("subgid", 1))
"""Each table, and the field of its lines that has the first uid. A range has its length in the next one."""


def held(etc: Path = Path("/etc")) -> tuple[range, ...]:
    """Return the ranges. A line or a table that cannot be read holds nothing."""
    return tuple(one for table, field in _FIELDS for one in _ranges(etc / table, field))


def end_of_overlap(base: int, count: int, ranges: tuple[range, ...]) -> int | None:
    """Return the first uid behind the ranges that meet the `count` uids from `base` on; None if none does."""
    met = [one.stop for one in ranges if one.start < base + count and base < one.stop]
    return max(met) if met else None


def _ranges(path: Path, field: int) -> Iterator[range]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split(":")
        numbers = words[field : field + (2 if field == 1 else 1)]
        if numbers and all(word.isascii() and word.isdigit() for word in numbers):
            first, *count = map(int, numbers)
            yield range(first, first + (count[0] if count else 1))
