"""The applied repo of an older hive: a work tree with a flake of its own beside `.git`, which is not bare.

hive tells it by its names and its configuration, without git, and holds the agent as it is.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from meta import own_file
from meta.errors import Damaged

REMEDY = "hive leaves it alone: see docs/howto/older-layout.md"

_WORK_TREE = frozenset({"agent.nix", "flake.nix"})
_BARE = re.compile(rb"^\s*bare\s*=\s*(true|false)\s*$", re.IGNORECASE | re.MULTILINE)


def is_older(folder: Path) -> bool:
    """Return True if `applied/<n>` has the layout of an older hive, even if its repo is damaged. Follow no link."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return False
        names = frozenset(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return False
    bare = _is_bare(folder / ".git") if ".git" in names else None
    return bare is False or (bare is None and not _WORK_TREE.isdisjoint(names))


def require_current(folder: Path) -> None:
    """Raise Damaged if `applied/<n>` has the layout of an older hive."""
    if is_older(folder):
        raise Damaged(folder, "it has the layout of an older hive: a work tree with a flake of its own", REMEDY)


def _is_bare(git_dir: Path) -> bool | None:
    """Return what the configuration says; None if it does not say it, or cannot be read."""
    try:
        values = _BARE.findall(own_file.read(git_dir / "config"))
    except (OSError, Damaged):
        return None
    return values[-1].lower() == b"true" if values else None
