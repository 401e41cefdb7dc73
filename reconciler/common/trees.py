"""Remove a directory tree that others could write in: no symlink is followed, nothing outside is touched."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from pathlib import Path

from meta.errors import Refused, TransientError


async def remove_tree(directory: Path, *, inside: Path) -> None:
    """Remove `directory`, which must lie two levels below `inside` by its own name. Missing: nothing.

    shutil.rmtree works relative to directory descriptors here, so a swapped component cannot lead it astray.
    """
    if ".." in directory.parts or directory.parent.parent != inside:
        raise Refused(f"{directory} is not an agent's directory", "this is a bug in hive: please report it")
    if directory.is_symlink():
        raise Refused(f"{directory} is a symlink; hive does not follow it", "remove it by hand")
    if not shutil.rmtree.avoids_symlink_attacks:
        raise Refused("this platform cannot remove trees safely", "remove the agent's directories by hand")
    try:
        await asyncio.to_thread(_remove, directory)
    except OSError as error:
        raise TransientError(f"cannot remove {directory}: {error.strerror}") from error


def _remove(directory: Path) -> None:
    if directory.exists():
        _open_up(directory)
        shutil.rmtree(directory)


def _open_up(directory: Path) -> None:
    """Where hive is not root, an agent's read-only directories would be in the way of the removal."""
    directory.chmod(0o700)
    for _, folders, _, descriptor in os.fwalk(directory, follow_symlinks=False):
        for name in folders:
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                os.chmod(name, stat.S_IRWXU, dir_fd=descriptor)
