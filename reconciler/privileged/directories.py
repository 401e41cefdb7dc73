"""Directories that root makes and gives away, below roots that a less trusted user may write to.

Every component below the root is opened from its parent's descriptor without following a symlink and must lie on the
same mount. Nothing is ever changed through a path. Only `remove` is recursive.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meta.errors import Refused, TransientError

_DEPTH = 100
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Ownership:
    """The new owner of a directory. `settled` returns True for a uid and gid that need no change.

    `from_uids`: a directory of any other uid is refused.
    """

    uid: int
    gid: int
    mode: int
    settled: Callable[[int, int], bool]
    from_uids: frozenset[int]


def own(root: Path, parts: tuple[str, ...], parents: Ownership, last: Ownership) -> None:
    """Make `root`/`parts` with missing parents, and set their owners. Raise Refused unless each is a directory."""
    with made(root, parts, parents) as (fd, where):
        _settle(fd, last, where)


@contextlib.contextmanager
def made(root: Path, parts: tuple[str, ...], parents: Ownership) -> Iterator[tuple[int, str]]:
    """Open `root`/`parts`, and yield its path too. Make missing directories; give the parents their owner."""
    with contextlib.ExitStack() as stack:
        fd, where = stack.enter_context(opened(root, None, str(root))), str(root)
        for depth, part in enumerate(parts):
            if depth:
                _settle(fd, parents, where)
            parent, where = fd, f"{where}/{part}"
            _make(part, parent, where)
            fd = stack.enter_context(inner(part, parent, where))
        yield fd, where


@contextlib.contextmanager
def inner(part: str, parent: int, where: str) -> Iterator[int]:
    """Open a directory of `parent` on the same mount."""
    with opened(part, parent, where) as fd:
        if _mount(fd) != _mount(parent):
            raise Refused(f"{where} is a mount of its own", "unmount it; hive gives away only its own directories")
        yield fd


def remove(root: Path, parts: tuple[str, ...]) -> None:
    """Remove the directory `root`/`parts` with its content if it exists. Enter no symlink and no mount."""
    with contextlib.ExitStack() as stack:
        fd, where = stack.enter_context(opened(root, None, str(root))), str(root)
        for part in parts[:-1]:
            where = f"{where}/{part}"
            if not _exists(part, fd):
                return
            fd = stack.enter_context(inner(part, fd, where))
        if _exists(parts[-1], fd):
            try:
                _remove_tree(parts[-1], fd, f"{where}/{parts[-1]}")
            except OSError as error:
                raise TransientError(f"cannot remove {where}/{parts[-1]}: {error.strerror}") from error


def _remove_tree(name: str, parent: int, where: str, depth: int = 0) -> None:
    if depth > _DEPTH:
        raise Refused(f"{where} is deeper than {_DEPTH} directories", "remove it by hand")
    with inner(name, parent, where) as fd:
        for entry in os.listdir(fd):  # noqa: PTH208 - by its descriptor, not by a path
            if stat.S_ISDIR(os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mode):
                _remove_tree(entry, fd, f"{where}/{entry}", depth + 1)
            else:
                os.unlink(entry, dir_fd=fd)
    os.rmdir(name, dir_fd=parent)


def _exists(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def require(root: Path, parts: tuple[str, ...]) -> None:
    """Raise Refused unless `root`/`parts` is a directory that is reached without a symlink."""
    with contextlib.ExitStack() as stack:
        fd = stack.enter_context(opened(root, None, str(root)))
        for depth, part in enumerate(parts):
            fd = stack.enter_context(opened(part, fd, "/".join((str(root), *parts[: depth + 1]))))


@contextlib.contextmanager
def present(root: Path, parts: tuple[str, ...]) -> Iterator[int | None]:
    """Open the directory `root`/`parts` without following a symlink. Yield None if it is missing.

    Raise Refused if a part is not a directory.
    """
    with contextlib.ExitStack() as stack:
        fd, where = None, ""
        for part in (str(root), *parts):
            where = f"{where}/{part}" if where else part
            try:
                os.stat(part, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                yield None
                return
            fd = stack.enter_context(opened(part, fd, where))
        yield fd


def refuse_links(root: Path, parts: tuple[str, ...]) -> None:
    """Raise Refused if `root`/`parts` is reached through a symlink, or is one. What is missing is none."""
    with contextlib.ExitStack() as stack:
        parent, where = None, str(root)
        for depth, part in enumerate((str(root), *parts)):
            where = f"{where}/{part}" if depth else where
            try:
                status = os.stat(part, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return
            if stat.S_ISLNK(status.st_mode):
                raise Refused(f"{where} is a symlink, and NixOS' start script would follow it as root", "remove it")
            if depth < len(parts):
                parent = stack.enter_context(opened(part, parent, where))


def _make(part: str, parent: int, where: str) -> None:
    try:
        os.mkdir(part, 0o700, dir_fd=parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise TransientError(f"cannot make {where}: {error.strerror}", "see whether the disk is full") from error


@contextlib.contextmanager
def opened(path: str | Path, parent: int | None, where: str) -> Iterator[int]:
    """Open a directory that is no symlink. Raise Refused if it is missing, or is something else."""
    try:
        fd = os.open(path, _OPEN, dir_fd=parent)
    except FileNotFoundError as error:
        raise Refused(f"{where} is missing", "own-directory makes it") from error
    except OSError as error:
        raise Refused(f"{where} is not a directory: {error.strerror}", "move it away by hand") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _settle(fd: int, to: Ownership, where: str) -> None:
    status = os.fstat(fd)
    if to.settled(status.st_uid, status.st_gid):
        return
    if status.st_uid not in to.from_uids:
        raise Refused(
            f"{where} belongs to uid {status.st_uid}", "move it away by hand; hive takes no directory from another user"
        )
    try:
        os.fchmod(fd, 0o700)  # never open to the new owner's group under the old mode
        os.fchown(fd, to.uid, to.gid)
        os.fchmod(fd, to.mode)
    except OSError as error:
        raise TransientError(f"cannot give {where} to uid {to.uid}: {error.strerror}") from error


def _mount(fd: int) -> str:
    """Return the id of the mount of `fd`. A bind mount of the same file system has another id."""
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text("ascii").splitlines():
        if line.startswith("mnt_id:"):
            return line
    raise TransientError("this kernel does not show the mount of a descriptor")
