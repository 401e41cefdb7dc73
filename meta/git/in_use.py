"""The processes that work in a repo, by their directory, their arguments and their environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from meta.process.recorder import MARKER

_DEPTH = 40
"""Directories above that of a process that are looked at. git searches upwards for its repo."""
_WORDS = 64 * 2**10
"""Bytes that are read of the arguments of a git, and of its environment."""
_MARK = f"{MARKER}=".encode()
"""What the environment of a short-lived process of hive has."""


def in_use(repo: Path, proc: Path = Path("/proc")) -> bool:
    """Return True if a process works in the repo or below it, or if a git was started to work there from elsewhere.

    For a push over ssh git works in the directory itself. Without root only the processes of hive's own user are seen.
    """
    status = repo.stat()
    here = status.st_dev, status.st_ino
    return any(_inode(place) == here for process in processes(proc) for place in _places(process))


def is_fetched(repo: Path, proc: Path = Path("/proc")) -> bool:
    """Return True if a git works in the repo that hive did not start: it may answer a fetch, or clone it. OSError.

    It takes no lock. One that has just begun names its repo before it reads an object of it. Without root only the
    processes of hive's own user are seen.
    """
    status = repo.stat()
    here = status.st_dev, status.st_ino
    gits = (process for process in processes(proc) if _is_git(process))
    return any(_inode(place) == here for git in gits if not _is_own(git) for place in _places(git))


def _places(process: str) -> Iterator[str]:
    """Yield where a process may work: its directory and those above.

    A git may also work in the `.git` of each, and in what its arguments and its environment name.
    """
    is_git = _is_git(process)
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


def _is_git(process: str) -> bool:
    return _head(f"{process}/comm").startswith(b"git")


def _is_own(process: str) -> bool:
    return any(word.startswith(_MARK) for word in _head(f"{process}/environ").split(b"\0"))


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


def processes(proc: Path) -> list[str]:
    """Return the folder of each process. OSError."""
    with os.scandir(proc) as entries:
        return [entry.path for entry in entries if entry.name.isdecimal()]
