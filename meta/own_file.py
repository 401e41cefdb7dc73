"""hive's own files: read without a wait and without an end, replaced atomically, and their names synced to the disk.

A person or a failing disk may leave a pipe, a folder, a device or a huge file in the place of a small file. A plain
read of a pipe waits for a writer for ever, and a read of a huge file takes all memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from meta.errors import Damaged

SMALL = 16 * 2**20
"""Bytes of a record or of a ref, at most. The real ones are far shorter."""
LARGE = 2**30
"""Bytes of an object of git, of an index of a pack, or of all packed refs, at most."""

DOCTOR = "`hive doctor` names the remedy"
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


def read(path: str | Path, most: int = SMALL, *, follow: bool = False, hint: str = DOCTOR) -> bytes:
    """Return the content of a regular file. Never wait for another process. With `follow` it may be a link to one.

    Raise Damaged with `hint` if there is no regular file at `path`, or one of more than `most` bytes. Raise OSError if
    it is missing or cannot be read.
    """
    try:
        descriptor = os.open(path, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP):  # a socket or a link
            raise Damaged(path, _describe(path), hint) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Damaged(path, _kind(status.st_mode), hint)
        content = os.read(descriptor, min(status.st_size, most) + 1)
        while len(content) <= most and (more := os.read(descriptor, most + 1 - len(content))):
            content += more
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise Damaged(path, f"it is longer than {most} bytes", hint)
    return content


def write(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Replace `path` atomically: after a crash the file is the old one or the new one. The folder must exist.

    With `sync` it is on the disk when this returns. Raise OSError, and leave the old file.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(fd)
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync:
        sync_folder(path.parent)


def is_regular(path: str | Path) -> bool:
    """Return True if there is a regular file at `path`, and no link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def sync_folder(folder: str | Path) -> None:
    """Sync the names in a folder to the disk. Raise OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _describe(path: str | Path) -> str:
    try:
        return _kind(os.lstat(path).st_mode)
    except OSError:
        return "it is not a file"


def _kind(mode: int) -> str:
    return f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file"
