"""Whether the CLI has a login, by the file in which it keeps it. The file is only looked at, never used.

The file is the agent's: a shell tool can put anything in its place. So the read is bounded, follows no link at the
end of the path and never blocks. Only the standard library is imported: the watcher under the CLI's uid has this, too.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.login.table import LoginRow, read

MOST = 256 * 1024
"""Bytes of the file, at most."""
LOOK_SECONDS = 1.0
"""Seconds between two looks at the file."""

Mark = tuple[int, int, int, int]


class Standing(StrEnum):
    """What is known about a login.

    present   there is one; whether its provider accepts it only a turn shows
    missing   there is none, or its file cannot be used
    unknown   this process cannot see it: the file belongs to another user, or the CLI keeps it elsewhere
    """

    PRESENT = "present"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Presence:
    """A standing, and for a missing login why, in one line."""

    standing: Standing
    reason: str = ""


_PRESENT, _UNKNOWN = Presence(Standing.PRESENT), Presence(Standing.UNKNOWN)


def judge(row: LoginRow, data: bytes) -> Presence:
    """Return what the bytes of the file say. Pure. No content of the file is in the reason."""
    if len(data) > MOST:
        return _missing(f"{row.file} is too large to be a login")
    if not data.strip():
        return _missing(f"{row.file} is empty")
    try:
        value = read(data)
    except ValueError:
        return _missing(f"{row.file} is cut off or damaged")
    complaint = row.complaint(value) if row.complaint is not None else ""
    return _missing(f"{row.file}: {complaint}") if complaint else _PRESENT


def has_key(row: LoginRow, data: bytes) -> bool:
    """Return True if the bytes of the file of keys have a value for one that the CLI takes. Pure."""
    for line in data.decode("utf-8", "replace").splitlines():
        name, _, value = line.strip().removeprefix("export ").partition("=")
        if name.strip() in row.keys and value.strip().strip("'\""):
            return True
    return False


def _missing(reason: str) -> Presence:
    return Presence(Standing.MISSING, reason)


class Credentials:
    """The login of one runtime's CLI, which runs with `env` and this home."""

    def __init__(self, row: LoginRow, home: Path, env: Mapping[str, str]) -> None:
        self._row = row
        folder = env.get(row.variable) if row.variable else None
        self._path = Path(folder or home / row.folder, row.file) if row.file else None
        self._keys = self._path.with_name(row.place.keys) if self._path and row.place.keys else None
        self._by_key = any(env.get(key) for key in row.keys)

    def mark(self) -> Mark | None:
        """Return a value that changes when the file appears, changes or goes; None without one. It does not block."""
        marks = [mark for path in (self._path, self._keys) if path is not None and (mark := _mark(path)) is not None]
        return None if not marks else marks[0] if len(marks) == 1 else _both(*marks)

    def look(self) -> Presence:
        """Return whether there is a login. It reads at most MOST bytes."""
        if self._by_key or not self._row.needed:
            return _PRESENT
        if self._path is None:
            return _UNKNOWN
        if self._keys is not None and self._has_key(self._keys):
            return _PRESENT
        try:
            return judge(self._row, _read(self._path))
        except FileNotFoundError:
            return _missing("there is no login")
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM) and _is_of_another_user(self._path):
                return _UNKNOWN
            return _missing(f"{self._row.file} cannot be read: {error.strerror or 'it is no file'}")

    def _has_key(self, path: Path) -> bool:
        try:
            return has_key(self._row, _read(path))
        except OSError:
            return False

    async def fresh(self) -> Presence:
        """Return whether there is a login at this moment."""
        return self.look()

    async def feed(self) -> None:
        """Return at once: each look is of its moment."""


def _mark(path: Path) -> Mark | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _both(one: Mark, other: Mark) -> Mark:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _read(path: Path) -> bytes:
    """Return the beginning of a regular file. A FIFO or a device in its place is an OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        return os.read(descriptor, MOST + 1)
    finally:
        os.close(descriptor)


def _is_of_another_user(path: Path) -> bool:
    """Return True if the file, or the first folder on the way that may not be entered, belongs to another user."""
    for each in (path, *path.parents):
        try:
            return each.lstat().st_uid != os.geteuid()
        except PermissionError:
            continue
        except OSError:
            return False
    return False
