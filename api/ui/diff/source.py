"""Where the folded parts of a diff come from: links to the fragments of one agent's commits. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from meta.names import AgentName, Sha

INLINE, SPLIT = "inline", "split"
LAYOUTS = (INLINE, SPLIT)


@dataclass(frozen=True, slots=True)
class Source:
    """Two commits of an agent, and how their difference is laid out. `base` is None for a new agent's first files."""

    agent: AgentName
    base: Sha | None
    sha: Sha
    key: str
    layout: str = INLINE

    def file(self, path: str, id: str, at: int) -> str:
        """Return the link to the rows of a file, whose id on the page is `id`, from the row `at` on."""
        return f"/diff/file?{urlencode([*self._common(path), ('base', self.base or ''), ('id', id), ('at', at)])}"

    def lines(self, path: str, old: int, new: int, most: int) -> str:
        """Return the link to `most` unchanged lines (0: all) from the line `old` of one side and `new` of the other."""
        return f"/diff/lines?{urlencode([*self._common(path), ('old', old), ('new', new), ('most', most)])}"

    def _common(self, path: str) -> list[tuple[str, object]]:
        return [("agent", self.agent), ("sha", self.sha), ("path", path), ("key", self.key), ("layout", self.layout)]
