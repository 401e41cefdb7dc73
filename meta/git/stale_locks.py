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

STALE = 600.0
"""Seconds after which a lock is stale. git holds one for moments."""
_MOST = 10_000
_NEW_REFS = "packed-refs.new"
"""git writes it beside `packed-refs.lock`, and refuses to begin while it exists."""
_DEPTH = 40
"""Directories above that of a process that are looked at. git searches upwards for its repo."""
_WORDS = 64 * 2**10
"""Bytes that are read of the arguments of a git, and of its environment."""
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


def in_use(repo: Path, proc: Path = Path("/proc")) -> bool:
    """Return True if a process works in the repo or below it, or if a git was started to work there from elsewhere.

    For a push over ssh git works in the directory itself. Without root only the processes of hive's own user are seen.
    """
    status = repo.stat()
    here = status.st_dev, status.st_ino
    return any(_inode(place) == here for process in _processes(proc) for place in _places(process))


def _places(process: str) -> Iterator[str]:
    """Yield where a process may work: its directory and those above.

    A git may also work in the `.git` of each, and in what its arguments and its environment name.
    """
    is_git = _head(f"{process}/comm").startswith(b"git")
    place = f"{process}/cwd"
    previous = None
    for _ in range(_DEPTH):
        inode = _inode(place)
        if inode is None or inode == previous:  # it cannot be seen, or is the root
            break
        yield place
        if is_git:
            yield f"{place}/.git"
        place, previous = f"{place}/..", inode
    if is_git:
        settings = (word for word in _head(f"{process}/environ").split(b"\0") if word.startswith(b"GIT_"))
        for word in (*_head(f"{process}/cmdline").split(b"\0"), *settings):
            for value in {word, word.partition(b"=")[2]} - {b""}:
                path = os.fsdecode(value)
                yield f"{process}/root{path}" if path.startswith("/") else f"{process}/cwd/{path}"


def _head(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_WORDS)
    except OSError:
        return b""  # it has ended, or is another user's


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_open(inodes: Set[tuple[int, int]], proc: Path) -> bool:
    for path in _processes(proc):
        with contextlib.suppress(OSError), os.scandir(f"{path}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    if (status.st_dev, status.st_ino) in inodes:
                        return True
    return False


def _processes(proc: Path) -> list[str]:
    with os.scandir(proc) as entries:
        return [entry.path for entry in entries if entry.name.isdecimal()]


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
