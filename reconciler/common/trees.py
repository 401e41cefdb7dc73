"""Remove a directory tree that others could write to. Follows no symlink and touches nothing outside."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from pathlib import Path

from meta.errors import Refused, TransientError


async def remove_tree(directory: Path, *, inside: Path) -> None:
    """Remove `directory` if it exists. It must lie two levels below `inside`."""
    check_removable(directory, inside=inside)
    try:
        await asyncio.to_thread(_remove, directory)
    except OSError as error:
        raise TransientError(f"cannot remove {directory}: {error.strerror}") from error


def check_removable(directory: Path, *, inside: Path) -> None:
    """Raise Refused unless `directory` lies two levels below `inside` and is no symlink.

    shutil.rmtree works relative to directory descriptors, so a component that is replaced meanwhile cannot mislead it.
    """
    if ".." in directory.parts or directory.parent.parent != inside:
        raise Refused(f"{directory} is not an agent's directory", "this is a bug in hive: please report it")
    if directory.is_symlink():
        raise Refused(f"{directory} is a symlink; hive does not follow it", "remove it by hand")
    if not shutil.rmtree.avoids_symlink_attacks:
        raise Refused("this platform cannot remove trees safely", "remove the agent's directories by hand")


def remove_whole(path: Path) -> None:
    """Remove a file, a symlink or a tree of hive's own. Raises OSError."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        _remove(path)


def _remove(directory: Path) -> None:
    if directory.exists():
        _make_writable(directory)
        shutil.rmtree(directory)


def _make_writable(directory: Path) -> None:
    """Make the agent's directories writable: hive could not remove from read-only ones unless it is root."""
    parent = os.open(directory.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _open_to_owner(directory.name, parent)
    finally:
        os.close(parent)
    for _, folders, _, descriptor in os.fwalk(directory, follow_symlinks=False):
        for name in folders:
            _open_to_owner(name, descriptor)


def _open_to_owner(name: str, parent: int) -> None:
    """Give its owner all rights in a directory. The manager may replace one of its own by a symlink meanwhile."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return  # removed or replaced; a symlink is only removed
    try:
        if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IRWXU)
    finally:
        os.close(descriptor)
