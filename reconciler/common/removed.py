"""The directory of what is being removed: a tree is first renamed into it, then removed there.

A rename is one operation: a daemon that is killed leaves a tree either whole at its place or out of the way, never half
of it. What a kill leaves in the directory is removed by the next daemon.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
from pathlib import Path

from meta.layout import Layout
from meta.own_file import sync_folder
from meta.process.disk import disk_error
from meta.process.failpoint import operation
from reconciler.common.trees import check_removable, remove_tree, remove_whole

log = logging.getLogger(__name__)


class Removed:
    """The directory `Layout.removed`. Only hive's own user can look into it."""

    def __init__(self, layout: Layout) -> None:
        self._state = layout.state
        self._directory = layout.removed

    async def take(self, path: Path) -> None:
        """Move `path`, two levels below the state directory, in here. Does nothing if it is not there.

        A path on another file system, which cannot be moved here, is removed at its place. Raises Refused for a
        symlink, TransientError or PermanentError if the disk fails.
        """
        check_removable(path, inside=self._state)
        try:
            moved = await asyncio.to_thread(self._move, path)
        except OSError as error:
            raise disk_error(f"cannot move {path} to {self._directory}", error) from error
        if not moved:
            await remove_tree(path, inside=self._state)

    def _move(self, path: Path) -> bool:
        if not os.path.lexists(path):
            return True
        self._directory.mkdir(mode=0o700, exist_ok=True)
        try:
            path.rename(self._directory / f"{path.parent.name}-{path.name}-{secrets.token_hex(4)}")
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EBUSY):
                return False
            raise
        sync_folder(self._directory)
        sync_folder(path.parent)
        return True

    async def empty(self) -> list[Path]:
        """Remove everything in here. Returns what was removed; what cannot be removed is logged and stays."""
        return await asyncio.to_thread(self._empty)

    def _empty(self) -> list[Path]:
        removed = []
        for path in sorted(self._directory.iterdir()) if self._directory.is_dir() else ():
            try:
                remove_whole(path)
            except OSError as error:
                log.warning("cannot remove %s: %s; hive tries again", path, error.strerror)
                continue
            removed.append(path)
            operation("first")
        return removed
