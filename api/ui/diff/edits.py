"""The change that a call of an agent's tool makes: a text becomes another. The same values as git's patch. Pure."""

from __future__ import annotations

from api.ui.diff.common import in_common
from api.ui.diff.values import UNNUMBERED, FileDiff, Hunk

MOST_LINES = 4_000
"""Lines of each text that are compared. Of longer texts all lines are removed and added."""

MOST_CHARACTERS = 2**18
"""Characters of each text that are looked at. The end of a longer one is left out, and the file is not whole."""


def edit_diff(path: str, old: str | None, new: str, first: int | None = None) -> FileDiff:
    """Return the change of a file from `old` (None: there was none, or nobody knows) to `new`.

    `first` is the number of the first line of both texts. Without it they are a part of a file, at a place that nobody
    knows, and no line has a number; a file that was not there begins at 1.
    """
    if first is None:
        first = 1 if old is None else UNNUMBERED
    before = [] if old is None else _lines(old)
    after = _lines(new)
    rows = _rows(before, after)
    signs = [row[0] for row in rows]
    return FileDiff(
        path=path,
        status="added" if old is None else "changed",
        hunks=(Hunk(_head(before, after, first), first, first, tuple(rows)),) if "+" in signs or "-" in signs else (),
        whole=max(len(old or ""), len(new)) <= MOST_CHARACTERS,
        added=signs.count("+"),
        removed=signs.count("-"),
    )


def _lines(text: str) -> list[str]:
    lines = text[:MOST_CHARACTERS].split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def _head(before: list[str], after: list[str], first: int) -> str:
    return f"@@ -{first},{len(before)} +{first},{len(after)} @@"


def _rows(before: list[str], after: list[str]) -> list[str]:
    same = in_common(before, after) if max(len(before), len(after)) <= MOST_LINES else []
    rows: list[str] = []
    left = right = 0
    for old, new in (*same, (len(before), len(after))):
        rows += [f"-{line}" for line in before[left:old]] + [f"+{line}" for line in after[right:new]]
        rows += [f" {line}" for line in after[new : new + 1]]
        left, right = old + 1, new + 1
    return rows
