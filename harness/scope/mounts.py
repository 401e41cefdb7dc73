"""The mounts of this process, as far as they hold what a scope denies."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meta.scope.rules import READ, Rule

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mounts:
    """The mount points, each with True if nothing can be written there; and those that nobody may enter."""

    read_only: Mapping[str, bool] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()

    def are_at(self, path: str) -> bool:
        """Return True if a path is a mount point: it can be neither moved nor removed."""
        return path in self.read_only

    def hold(self, rule: Rule) -> bool:
        """Return True if mounts keep everybody from what a recursive rule denies."""
        if rule.permission is READ:
            return rule.target in self.closed
        beneath = (closed for path, closed in self.read_only.items() if path.startswith(f"{rule.target}/"))
        return self.read_only.get(rule.target, False) and all(beneath)


def read_mounts(file: Path = Path("/proc/self/mountinfo")) -> Mounts:
    """Return the mounts of this process; none if they cannot be read."""
    try:
        text = os.fsdecode(file.read_bytes())
    except OSError:
        return Mounts()
    read_only: dict[str, bool] = {}
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) > 5:  # the last mount at a place is the one that is seen
            read_only[_ESCAPE.sub(lambda match: chr(int(match[1], 8)), words[4])] = "ro" in words[5].split(",")
    return Mounts(read_only, frozenset(path for path, closed in read_only.items() if closed and _is_closed(path)))


def _is_closed(path: str) -> bool:
    try:
        return os.lstat(path).st_mode & 0o777 == 0
    except OSError:
        return False
