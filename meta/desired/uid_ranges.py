"""The ranges of uids that agents.json may give: above the host's users, below the last uid, and apart."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from meta.errors import BadInput

UID_STEP = 65_536
"""The uids of one agent, from its base on."""
LOWEST = 65_536
"""Below are the host's root, its services and its people; no setting hands these out."""
HIGHEST = 2**32 - 1 - UID_STEP
"""The last base: 2^32 - 1 is no uid."""


def require_apart(bases: Iterable[tuple[str, int]], first: int = LOWEST) -> None:
    """Raise BadInput if a range is not between `first` and the last uid, or if two names share a uid.

    `bases` are (name, first uid of its range); the same name may come twice.
    """
    ordered = sorted(bases, key=lambda each: each[1])
    for name, base in ordered:
        _require_within(name, base, first)
    for (one, lower), (other, upper) in pairwise(ordered):
        if upper - lower < UID_STEP and not (one == other and upper == lower):
            raise BadInput(
                f"{one} and {other} would share uids: their ranges of {UID_STEP} begin at {lower} and {upper}",
                "give each its own range by a commit on the meta repo, or spawn one of them again",
            )


def _require_within(name: str, base: int, first: int) -> None:
    if first <= base <= HIGHEST:
        return
    raise BadInput(
        f"{name} would have the uids from {base}, outside of those that agents may have ({first} to {HIGHEST})",
        "mend uid_base in agents.json by a commit on the meta repo; if HIVE_UID_START was lower, set it back",
    )
