"""Directories that agents own, changed without following their symlinks. Also the last lines of a log."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from meta.errors import Refused, TransientError

TAIL_BYTES = 256 * 1024


def own(path: Path, uid: int | None, mode: int, group: int | None = None) -> None:
    """Make `path` a directory of `uid` (None: ours) and `group` (None: that of the uid) with `mode`.

    Its parent is hive's own, so only `path` itself can be a symlink of the agent. Raise Refused unless it is a
    directory.
    """
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        pass
    except OSError as error:
        raise TransientError(f"cannot make {path}: {error.strerror}", "see whether the disk is full") from error
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            f"{path} is not a directory: {error.strerror}", "move it away by hand; hive makes a new one"
        ) from error
    try:
        status = os.fstat(fd)
        owner = (status.st_uid if uid is None else uid, _group(status, uid, group))
        if (status.st_uid, status.st_gid) != owner:
            os.fchown(fd, *owner)
        if status.st_mode & 0o7777 != mode:
            os.fchmod(fd, mode)
    except OSError as error:
        raise TransientError(f"cannot give {path} to uid {uid}: {error.strerror}") from error
    finally:
        os.close(fd)


def _group(status: os.stat_result, uid: int | None, group: int | None) -> int:
    if group is not None:
        return group
    return status.st_gid if uid is None else uid


def tail(folder: Path, lines: int) -> str:
    """Return the last `lines` lines of `log` in `folder`. If it is short, those of `log.1` come before them."""
    if lines <= 0:
        return ""
    texts: list[str] = []
    for name in ("log", "log.1"):
        if len(texts) < lines:
            texts = _last(folder / name).splitlines() + texts
    return "\n".join(texts[-lines:])


def _last(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return ""
        os.lseek(fd, max(0, status.st_size - TAIL_BYTES), os.SEEK_SET)
        return os.read(fd, TAIL_BYTES).decode("utf-8", "replace")
    finally:
        os.close(fd)
