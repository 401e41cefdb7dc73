"""The applied repo of an older hive: a work tree with a flake of its own beside `.git`, which is not bare.

hive recognises it by its names and its configuration, without git. Until it is migrated it is held as it is. Another
user may have written the configuration, so a repo counts as hive's own only if each line of it is one that hive writes.

    .git  agent.nix  flake.nix ...      OLDER     as the older hive left it
    older.git  agent.nix ...            TAKEN     a kill cut the exchange of the repos: `older.git` goes back
    .git  older.git  agent.nix ...      UNTIDY    `.git` is the new bare repo, the rest is on its way to `older`
    .git  older/                        CURRENT
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from meta import own_file
from meta.applied.states import parse
from meta.errors import Damaged
from meta.git.config import is_own
from meta.model import TagState
from meta.names import OLDER_ID_LIMIT, ProposalId

SKIP = "HIVE_SKIP_META_MIGRATION"
"""The variable that defers the migration."""
REMEDY = "hive leaves it alone: see docs/howto/older-layout.md"
REPORT = "migration.json"
"""The file of the state directory that `reasons` reads."""
TAKEN, KEPT = "older.git", "older"
"""The older repo during the exchange, and the folder that keeps it with its work tree for good."""
REFS, MARKER = "refs/hive/older", "refs/hive/migrated"
"""Every ref of the older repo by its name without `refs/`, and the ref that marks an agent with nothing left to do."""
TAGS = tuple(f"{REFS}/tags/{state}" for state in TagState)
"""The folders of its tags."""

_WORK_TREE = frozenset({"agent.nix", "flake.nix"})
_NOT_BARE = re.compile(rb"^\s*bare\s*=\s*false\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an agent was not migrated, and what an operator can do."""

    text: str
    remedy: str


class Shape(Enum):
    """The layout of `applied/<n>`. What is no directory, or has no repo, is CURRENT."""

    CURRENT = "current"
    OLDER = "older"
    TAKEN = "taken"
    UNTIDY = "untidy"


def shape(folder: Path) -> Shape:
    """Return the layout of `applied/<n>`. Follow no link."""
    names = _names(folder)
    if TAKEN in names and ".git" not in names:
        return Shape.TAKEN
    if is_older(folder):
        return Shape.OLDER
    return Shape.UNTIDY if TAKEN in names else Shape.CURRENT


def ids(refs: Iterable[str]) -> frozenset[ProposalId]:
    """Return the ids of an older hive among the names of refs.

    Id 0 is not one: it is hive's own afterwards. One from OLDER_ID_LIMIT on stays under REFS only.
    """
    tags = (ref.removeprefix(f"{REFS}/tags/") for ref in refs if ref.startswith(f"{REFS}/tags/"))
    return frozenset(
        parsed[1] for name in tags if (parsed := parse(name)) is not None and 0 < parsed[1] < OLDER_ID_LIMIT
    )


def is_older(folder: Path) -> bool:
    """Return True if `applied/<n>` has the layout of an older hive, even if its repo is damaged. Follow no link."""
    names = _names(folder)
    config = _config(folder / ".git") if ".git" in names else b""
    if is_own(config):
        return False
    return not names.isdisjoint({*_WORK_TREE, TAKEN}) or _NOT_BARE.search(config) is not None


def require_current(folder: Path) -> None:
    """Raise Damaged if `applied/<n>` has the layout of an older hive, with the reason why it was not migrated."""
    if is_older(folder):
        why = reasons(folder.parent.parent / REPORT).get(folder.name)
        text = "it has the layout of an older hive: a work tree with a flake of its own"
        raise Damaged(folder, f"{text}; {why.text}" if why else text, why.remedy if why else REMEDY)


def reasons(report: Path) -> Mapping[str, Reason]:
    """Return why the last start left agents as they are, by name. A report that cannot be read names none."""
    try:
        content = json.loads(own_file.read(report))
        return {name: Reason(str(one["text"]), str(one["remedy"])) for name, one in content["left"].items()}
    except (OSError, Damaged, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _names(folder: Path) -> frozenset[str]:
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return frozenset()
        return frozenset(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return frozenset()


def _config(git_dir: Path) -> bytes:
    """Return the configuration; nothing if it cannot be read, or if git would read another file in its place."""
    try:
        if not stat.S_ISDIR(git_dir.lstat().st_mode) or os.path.lexists(git_dir / "commondir"):
            return b""
        return own_file.read(git_dir / "config")
    except (OSError, Damaged):
        return b""
