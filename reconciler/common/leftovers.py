"""What a killed daemon leaves half-made in the state directory, and its removal at the next start.

Only names that hive itself gives to temporary files and directories are removed, only in the folders in which it makes
them, and only under the lock of the state directory. What the supervisor of a running agent writes is in use.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from meta.layout import Layout
from meta.own_file import sync_folder
from reconciler.common.removed import Removed

log = logging.getLogger(__name__)

HOUR = 3600.0
_REPLACING = r"\.[A-Za-z0-9_.-]+\.[0-9a-f]{8}"
"""The temporary file of `meta.own_file.write`."""

_FRESH_OR_GONE = r"\.(?:new|gone)-[a-z][a-z0-9-]*"
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("", rf"{_REPLACING}|owner\.new"),
    ("backend/*", rf"{_FRESH_OR_GONE}|{_REPLACING}"),
    ("backend/*/*", rf"{_REPLACING}|\.system-[0-9a-f]{{8}}"),
    ("generations/*", r"\.(?:new|old)-[0-9a-f]+-[0-9a-f]{8}"),
    ("roots/*", _REPLACING),
    ("previews/*", _REPLACING),
    ("meta", r"\.[a-z.]+\.new(?:-[0-9a-f]{8})?"),
    ("meta/.git/objects/*", r"tmp_obj_\w+"),
    ("applied/*/.git", r"config\.hive"),
    ("applied/*/.git/objects/*", r"tmp_obj_\w+"),
    ("applied/*/.git/objects/pack", r"(?:\.tmp-|tmp_)[\w-]+"),
)
"""Folders below the state directory, and what hive calls the temporary things that it makes there."""

_SUPERVISED = re.compile(r"(?:run|exit)\.json\.new")
"""The temporary files of a supervisor."""


def clear(layout: Layout) -> list[Path]:
    """Remove what an earlier daemon left half-made. Returns what was there. OSError.

    A directory is only moved out of the way, so that a large one does not delay the start.
    """
    for scratch in (layout.quarantine, layout.scratch):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700, exist_ok=True)
    removed = layout.removed
    removed.mkdir(mode=0o700, exist_ok=True)
    leftovers = sorted(removed.iterdir())
    for path in list(find(layout)):
        leftovers.append(path)
        if path.is_dir() and not path.is_symlink():
            path.rename(removed / f"{path.name.lstrip('.')}-{secrets.token_hex(4)}")
        else:
            path.unlink(missing_ok=True)
    sync_folder(removed)
    for path in leftovers:
        log.info("removed %s, which an earlier daemon left half-made", path)
    return leftovers


def find(layout: Layout) -> Iterator[Path]:
    """Yield every temporary file and directory of hive's own that is not in use. Only while no daemon runs."""
    for folder, pattern in _PATTERNS:
        wanted = re.compile(pattern)
        for directory in _directories(layout.state, folder):
            yield from (directory / name for name in sorted(_names(directory)) if wanted.fullmatch(name))
    for directory in _directories(layout.backend("local"), "*"):
        if not _is_supervised(directory):
            yield from (directory / name for name in sorted(_names(directory)) if _SUPERVISED.fullmatch(name))


def _is_supervised(directory: Path) -> bool:
    """Return True if a supervisor holds the lock that it holds while it runs, or if that is not to be seen."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _directories(state: Path, pattern: str) -> list[Path]:
    """Return the real directories at `pattern` below `state`. A symlink is not followed."""
    found = [state]
    for part in pattern.split("/") if pattern else ():
        below = [
            directory / name for directory in found for name in (sorted(_names(directory)) if part == "*" else [part])
        ]
        found = [path for path in below if path.is_dir() and not path.is_symlink()]
    return found


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []


async def empty_hourly(layout: Layout) -> None:
    """Remove what lies in the directory of what is being removed, now and then every hour, until cancelled."""
    removed = Removed(layout)
    while True:
        if count := len(await removed.empty()):
            log.info("removed %d trees of what was removed or half-made earlier", count)
        await asyncio.sleep(HOUR)
