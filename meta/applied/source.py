"""Where a proposal came from: one value, recorded as text in the trailer `Hive-Source` of its tag."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from typing_extensions import override

from meta.names import ProposalId

_MARK = "#"
_EARLIER = re.compile(r"(?:deployed|failed|denied)/[0-9]+")


class SourceKind(StrEnum):
    """The kinds of sources. `docs/reference/proposals.md` explains each, with an example."""

    PUSH = "push"
    WORK_TREE = "work-tree"
    EDIT = "edit"
    DECLARED = "declared"
    SEED = "seed"
    SPAWN = "spawn"
    OLDER = "older"
    EARLIER = "earlier"
    PATH = "path"
    UNKNOWN = "unknown"


_PLACES = {
    SourceKind.PUSH: "proposed/push.git",
    SourceKind.WORK_TREE: "proposed/config",
    SourceKind.EDIT: "edit",
    SourceKind.DECLARED: "declared",
    SourceKind.SEED: "seed",
    SourceKind.SPAWN: "spawn",
    SourceKind.OLDER: "older",
}
_KINDS = {place: kind for kind, place in _PLACES.items()}
_HAVE_BRANCHES = frozenset({SourceKind.PUSH, SourceKind.WORK_TREE})


@dataclass(frozen=True, slots=True)
class Source:
    """The place that a proposal came from. `part` is the branch of that repo, or the edited file.

    As text it is `proposed/push.git#main`, `edit#agent.toml`, `seed`, `deployed/7` or an absolute path. Any text can be
    parsed, since tags may be written by hand. The tag bounds and scrubs the text.
    """

    place: str
    part: str | None = None

    def __post_init__(self) -> None:
        if self.place.startswith("/"):
            if self.part is not None:
                raise ValueError(f"the path {self.place!r} is a source without a part")
        elif _MARK in self.place:
            raise ValueError(f"the place {self.place!r} holds {_MARK!r}, which separates it from its part")

    @classmethod
    def of(cls, kind: SourceKind, part: str | None = None) -> Self:
        """Return the source of a kind that has one fixed place. Raise KeyError for the other kinds."""
        return cls(_PLACES[kind], part)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source that `text` names, so that `str()` gives back `text`. An absolute path may hold `#`."""
        if text.startswith("/"):
            return cls(text)
        place, mark, part = text.partition(_MARK)
        return cls(place, part if mark else None)

    @override
    def __str__(self) -> str:
        return self.place if self.part is None else f"{self.place}{_MARK}{self.part}"

    @property
    def kind(self) -> SourceKind:
        """The kind of this place; UNKNOWN for a text that hive does not write."""
        if self.place.startswith("/"):
            return SourceKind.PATH
        if self.part is None and _EARLIER.fullmatch(self.place):
            return SourceKind.EARLIER
        return _KINDS.get(self.place, SourceKind.UNKNOWN)

    @property
    def earlier(self) -> ProposalId | None:
        """The id of an earlier proposal, if this is one: of a rollback or a retry."""
        return ProposalId(int(self.place.partition("/")[2])) if self.kind is SourceKind.EARLIER else None

    @property
    def branch(self) -> str | None:
        """The branch of the push repo or of the work tree, if the source names one."""
        return self.part if self.kind in _HAVE_BRANCHES else None

    @property
    def exclusive(self) -> bool:
        """True if at most one proposal from this source waits: a newer one supersedes the older one."""
        return self.part is not None

    def replaces(self, older: Source) -> bool:
        """Return True if a proposal from here supersedes a pending one from `older`."""
        return self.exclusive and self == older


DECLARED = Source.of(SourceKind.DECLARED, "host")
"""The source of what the host's configuration declares. A newer declaration supersedes a pending one."""
