"""Locks that a killed git left in a push repo. Each blocks a branch, `packed-refs.lock` every deletion of one."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from meta.proposed.push_prune import in_use

STALE = 3600.0
"""Seconds after which a lock is stale. git holds one for moments."""
_MOST = 10_000


def stale(repo: Path, now: float) -> tuple[Path, ...]:
    """Return the locks older than STALE, sorted. OSError."""
    return tuple(sorted(Path(folder, name) for folder, name, _ in _locks(repo, now)))


def remove(repo: Path, lock: Path, now: float, proc: Path) -> str:
    """Remove a stale lock unless a process works in the repo; return what was done. OSError.

    Without root only the processes of hive's own user are seen.
    """
    if in_use(repo, proc):
        return f"{lock} was left alone: a process works in {repo}"
    for folder, name, descriptor in _locks(repo, now):
        if Path(folder, name) == lock:
            os.unlink(name, dir_fd=descriptor)
            return f"removed {lock}"
    return f"{lock} was left alone: it is removed already, or in use again"


def _locks(repo: Path, now: float) -> Iterator[tuple[str, str, int]]:
    """Yield folder, name and a descriptor of the folder of each stale lock beside or below `refs`."""
    seen = 0
    for folder, folders, names, descriptor in os.fwalk(repo, follow_symlinks=False):
        if folder == str(repo):
            folders[:] = [name for name in folders if name == "refs"]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if name.endswith(".lock") and stat.S_ISREG(status.st_mode) and now - status.st_mtime > STALE:
                    yield folder, name, descriptor
        seen += len(names) + len(folders)
        if seen > _MOST:
            return
