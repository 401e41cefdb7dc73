"""Where the folded parts of a diff come from: links to the fragments of two commits of an agent. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from api.ui.diff.values import FileDiff

INLINE, SPLIT = "inline", "split"


@dataclass(frozen=True, slots=True)
class Source:
    """Two commits of an agent, and how their difference is laid out.

    `base` is None for the first commit of a new agent; then `id` is that of its proposal.
    """

    agent: str
    base: str | None
    sha: str
    key: str
    layout: str = INLINE
    id: int | None = None

    def file(self, file: FileDiff, part: str, at: int) -> str:
        """Return the link to the rows of a file, whose id on the page is `part`, from the row `at` on.

        More of it is shown if it is compared without the others, but then git does not see that it was renamed.
        """
        more = [("at", at), ("alone", 0 if file.old_path else 1)]
        return f"/diff/file?{urlencode([*self._common(file.path, part), *more])}"

    def files(self, at: int) -> str:
        """Return the link to the files from the one at the place `at` on."""
        return f"/diff/files?{urlencode([*self._commits(), ('at', at)])}"

    def lines(self, path: str, part: str, old: int, new: int, most: int) -> str:
        """Return the link to `most` unchanged lines (0: all) from the line `old` of one side and `new` of the other."""
        return f"/diff/lines?{urlencode([*self._common(path, part), ('old', old), ('new', new), ('most', most)])}"

    def _common(self, path: str, part: str) -> list[tuple[str, object]]:
        return [*self._commits(), ("path", path), ("part", part)]

    def _commits(self) -> list[tuple[str, object]]:
        commits: list[tuple[str, object]] = [("agent", self.agent), ("base", self.base or ""), ("sha", self.sha)]
        proposal = [("id", self.id)] if self.base is None and self.id is not None else []
        return [*commits, *proposal, ("key", self.key), ("layout", self.layout)]
