"""Locks that a killed git left in a bare repo. Each blocks a branch, `packed-refs.lock` every deletion of one.

A repo may be one that others write in: no symlink is followed, and only what is a file is removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from meta.git.in_use import in_use, processes

STALE = 600.0
"""Seconds after which a lock is stale. git holds one for moments."""
_MOST = 10_000
_NEW_REFS = "packed-refs.new"
"""git writes it beside `packed-refs.lock`, and refuses to begin while it exists."""
_FIRST_NAMESPACE = 0xEFFFFFFC
"""Inode of the host's own pid namespace."""
_FOLDERS = ("refs", "objects")
_OF_OBJECTS = ("info", "pack")


@dataclass(frozen=True, slots=True, order=True)
class Lock:
    """A lock as it was read: its path, device and inode, when it was written, and by whom."""

    path: Path
    inode: tuple[int, int]
    at: float
    uid: int


def stale(repo: Path, now: float) -> tuple[Lock, ...]:
    """Return the locks older than STALE, sorted. OSError."""
    return tuple(sorted(lock for lock, _ in _locks(repo, now)))


def remove(repo: Path, lock: Path, now: float, proc: Path) -> str:
    """Remove a stale lock unless a process works in the repo or has it open; return what was done. OSError."""
    for known, descriptor in _locks(repo, now):
        if known.path == lock:
            if is_foreign(known, proc):
                return f"{lock} was left alone: {foreign_fault(known)}"
            if is_used(repo, [known], proc):
                return f"{lock} was left alone: a process works in {repo}"
            os.unlink(lock.name, dir_fd=descriptor)
            return f"removed {lock}"
    return f"{lock} was left alone: it is removed already, or in use again"


def is_used(repo: Path, locks: Iterable[Lock], proc: Path = Path("/proc")) -> bool:
    """Return True if a process works in the repo or has one of the locks open. OSError."""
    return in_use(repo, proc) or _is_open({lock.inode for lock in locks}, proc)


def is_foreign(lock: Lock, proc: Path = Path("/proc")) -> bool:
    """Return True if the lock is of a user whose processes hive may not see: it has no root, or is in a container."""
    if lock.uid == os.geteuid():
        return False
    try:
        return os.geteuid() != 0 or Path(proc, "self/ns/pid").stat().st_ino != _FIRST_NAMESPACE
    except OSError:
        return True


def foreign_fault(lock: Lock) -> str:
    """Return why hive does not remove a foreign lock, and what to do."""
    return (
        f"it is of uid {lock.uid}, whose processes hive does not see from here; "
        "if no git of that user works there, remove it as that user"
    )


def _is_open(inodes: Set[tuple[int, int]], proc: Path) -> bool:
    for path in processes(proc):
        with contextlib.suppress(OSError), os.scandir(f"{path}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    if (status.st_dev, status.st_ino) in inodes:
                        return True
    return False


def _locks(repo: Path, now: float) -> Iterator[tuple[Lock, int]]:
    """Yield each stale lock with a descriptor of its folder: beside and below `refs`, and beside packs."""
    seen = 0
    for folder, folders, names, descriptor in os.fwalk(repo, follow_symlinks=False):
        if folder == str(repo):
            folders[:] = [name for name in folders if name in _FOLDERS]
        elif folder == f"{repo}/objects":
            folders[:] = [name for name in folders if name in _OF_OBJECTS]
        for name in names:
            if name.endswith(".lock") or (name == _NEW_REFS and folder == str(repo)):
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and now - status.st_mtime > STALE:
                        inode = (status.st_dev, status.st_ino)
                        yield Lock(Path(folder, name), inode, status.st_mtime, status.st_uid), descriptor
        seen += len(names) + len(folders)
        if seen > _MOST:
            return
