"""The values of a patch: its files, their hunks, and the lines of those as git wrote them."""

from __future__ import annotations

from dataclasses import dataclass

UNNUMBERED = -(10**9)
"""The first number of lines that have none: numbers below 1 are not shown."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that stand together. `head` is git's line that begins with @@.

    `old` and `new` are the numbers of the first lines on both sides. `rows` are git's lines, each with its first
    character: a space, `+`, `-`, or a backslash (the row before it has no line end).
    """

    head: str
    old: int
    new: int
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One changed file. `head` has git's lines before the hunks.

    `status` is added, changed, deleted or renamed (then `old_path` is the former name). Modes are git's, sizes bytes;
    None on the side where there is no file, or if they are not known. `whole` is False if the patch lacks a part of the
    file; then `hunks` has the rest.
    """

    path: str
    status: str
    head: tuple[str, ...] = ()
    hunks: tuple[Hunk, ...] = ()
    old_path: str | None = None
    old_mode: str | None = None
    new_mode: str | None = None
    old_size: int | None = None
    new_size: int | None = None
    binary: bool = False
    whole: bool = True
    added: int = 0
    removed: int = 0

    @property
    def rows(self) -> int:
        """Return how many rows its hunks have."""
        return sum(len(hunk.rows) for hunk in self.hunks)


@dataclass(frozen=True, slots=True)
class Patch:
    """The files of a patch in git's order, and the lines that belong to none (`rest`: why it is not whole)."""

    files: tuple[FileDiff, ...]
    rest: tuple[str, ...] = ()

    @property
    def added(self) -> int:
        """Return how many lines are added in all files."""
        return sum(file.added for file in self.files)

    @property
    def removed(self) -> int:
        """Return how many lines are removed in all files."""
        return sum(file.removed for file in self.files)
