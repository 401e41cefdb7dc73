"""Small files of root: read without following a symlink, written completely or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from meta.errors import Refused, TransientError

_LIMIT = 64 * 1024


def read(path: Path) -> str | None:
    """Return the text of a regular file; None if it is missing.

    Raise Refused for a symlink, a device, or 64 KiB and more.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path} is not a file of hive: {error.strerror}", "hive leaves it alone") from error
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Refused(f"{path} is not a regular file", "hive leaves it alone")
        content = file.read(_LIMIT)
    if len(content) == _LIMIT:
        raise Refused(f"{path} is too long for a file of hive", "hive leaves it alone")
    return content.decode("utf-8", "replace")


def write(path: Path, text: str) -> None:
    """Replace `path` atomically, with mode 0644, and sync it. Make missing parents."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(fd, 0o644)
                file.flush()
                os.fsync(fd)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise TransientError(f"cannot write {path}: {error.strerror}", "see whether the disk is full") from error


def remove(path: Path) -> bool:
    """Remove a file. Return True if it existed."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise TransientError(f"cannot remove {path}: {error.strerror}") from error
    with contextlib.suppress(FileNotFoundError):
        _sync(path.parent)
    return True


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
