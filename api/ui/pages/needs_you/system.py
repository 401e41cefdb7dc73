"""The changes of a built system as rows of a table: the lines of `hive diff`, each in three columns. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from api.ui.numbers import plural
from meta.nix.summary import WORDS

_BY_LENGTH = sorted(WORDS.values(), key=lambda words: -len(words[0]))
_VALUE = re.compile(r"(.*\S) \(([^()]*)\)")
_SIGNS = {"+": "new", "-": "gone", "~": ""}


@dataclass(frozen=True, slots=True)
class Part:
    """One line. `tag` is new, gone or "", `old` and `new` are its values. A line of no kind has only a `name`."""

    name: str
    tag: str = ""
    old: str = ""
    new: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class System:
    """The lines, and how many there are of each kind in words."""

    parts: tuple[Part, ...]
    summary: str


def system_of(lines: Sequence[str]) -> System:
    """Return the table of a diff's `system`."""
    parts = tuple(map(_part, lines))
    counts = Counter(part.kind for part in parts if part.kind)
    several = dict(WORDS.values())
    words = [plural(number, kind, several[kind]) for kind, number in counts.items()]
    return System(parts, ", ".join(words))


def _part(line: str) -> Part:
    sign, _, rest = line.partition(" ")
    kind = next((one for one, _ in _BY_LENGTH if rest.startswith(f"{one} ")), "")
    if sign not in _SIGNS or not kind:
        return Part(name=line.removeprefix("~ ").removeprefix("+ ").removeprefix("- "))
    what = rest[len(kind) + 1 :]
    if sign == "~":
        name, _, change = what.rpartition(": ")
        if not name:
            return Part(what, new="another content", kind=kind)
        old, _, new = change.rpartition(" -> ")
        return Part(name, old=old, new=new or change, kind=kind)
    if sign == "+" and kind == "package" and " " in what:
        name, _, version = what.partition(" ")
        return Part(name, "new", new=version, kind=kind)
    if sign == "+" and (match := _VALUE.fullmatch(what)):
        return Part(match[1], "new", new=match[2], kind=kind)
    return Part(what, _SIGNS[sign], kind=kind)
