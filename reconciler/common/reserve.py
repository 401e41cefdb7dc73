"""Space on the disk that hive keeps for itself: real blocks and a few inodes, given back when the disk is full.

An agent can fill the disk. Then hive could record neither that the operator stopped it nor a denial, and a restarted
daemon could not open its database. The reserve lets it do that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from meta import own_file
from meta.text import size

log = logging.getLogger(__name__)

LAST = 8
"""One part in this many is kept for the record of a stop and for a start. No other command gets it."""

SHARE = 100
"""The reserve is at most one part in this many of its file system."""
LOW = 4 * 2**20
"""The disk is full if it has less free bytes than this, or than a quarter of such a share."""
INODES = 64
"""Empty files of the reserve. Each gives back an inode."""


@dataclass(frozen=True, slots=True)
class Room:
    """The free part of a file system, for others than root. `inodes` is None if it does not count them.

    `whole` and `all_inodes` are those of the file system.
    """

    free: int
    whole: int
    inodes: int | None = None
    all_inodes: int | None = None

    @property
    def lacks_inodes(self) -> bool:
        """True if a smaller part of the inodes than of the bytes is free."""
        if self.inodes is None or not self.all_inodes or not self.whole:
            return False
        return self.inodes / self.all_inodes < self.free / self.whole

    def describe(self) -> str:
        """Return what is free, in words."""
        inodes = f" and {self.inodes} inodes" if self.inodes is not None and self.inodes < INODES else ""
        return f"{size(self.free)}{inodes} free of {size(self.whole)}"


class Reserve:
    """The reserve in `folder`, of at most `most` bytes (0: none). Its parent exists. Every method may block."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._blocks, self._last = folder / "blocks", folder / "last"
        self._most = most

    def room(self) -> Room:
        """Return what is free. Raise OSError."""
        return room_in(os.statvfs(self._folder.parent))

    def wanted(self, room: Room) -> int:
        """Return the bytes that the whole reserve has on this file system."""
        return min(self._most, room.whole // SHARE)

    def is_full(self, room: Room) -> bool:
        """Return True if the disk is full: a write of a few pages may fail."""
        return room.free < min(LOW, room.whole // SHARE // 4) or (room.inodes is not None and room.inodes < INODES // 2)

    def held(self) -> int:
        """Return the bytes that the reserve has now."""
        return _length(self._blocks) + _length(self._last)

    def has_room(self, room: Room) -> bool:
        """Return True if the whole reserve can be made again, and the disk is not full afterwards."""
        left = room.free + self.held() - self.wanted(room)
        return left >= self.wanted(room) and (room.inodes is None or room.inodes >= 2 * INODES)

    def make(self) -> bool:
        """Make it. If the whole of it has no room, make a half, a quarter or an eighth. Return False if none has."""
        try:
            wanted = self.wanted(self.room())
            last = wanted // LAST
            if not _is_folder(self._folder):
                self._folder.unlink(missing_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not _allocate(self._last, last):
                return False
            if not any(_allocate(self._blocks, (wanted - last) // part) for part in (1, 2, 4, 8)):
                return False
            for number in range(INODES):
                (self._folder / f"inode-{number}").touch(mode=0o600)
        except OSError as error:
            log.debug("the reserve cannot be made: %s", error)
            return False
        return True

    def give_back(self, *, all: bool) -> int:
        """Remove it. Without `all` the last part stays. Return the bytes that are free by that."""
        held = self.held()
        for path in (self._blocks, *([self._last] if all else [])):
            with contextlib.suppress(OSError):
                _clear(path)
                os.truncate(path, 0)  # its blocks are free even if its name cannot be removed
        left = self.held()
        if all:
            shutil.rmtree(self._folder, ignore_errors=True)
        else:
            for number in range(INODES // 2):
                with contextlib.suppress(OSError):
                    (self._folder / f"inode-{number}").unlink()
        return held - left


def room_in(status: os.statvfs_result) -> Room:
    """Return what is free on a file system."""
    inodes = status.f_favail if status.f_files else None  # btrfs and others do not count them
    return Room(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize, inodes, status.f_files or None)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _length(path: Path) -> int:
    return path.lstat().st_size if own_file.is_regular(path) else 0


def _clear(path: Path) -> None:
    """Remove what stands in the place of a file of the reserve. Raise OSError."""
    if _is_folder(path):
        shutil.rmtree(path)
    elif os.path.lexists(path) and not own_file.is_regular(path):
        path.unlink()


def _allocate(path: Path, length: int) -> bool:
    """Give the file `length` bytes with real blocks. Return False if there is no room; it is then as it was."""
    _clear(path)
    before = _length(path)
    if before >= length and path.exists():
        return True
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if length:
            os.posix_fallocate(descriptor, 0, length)
    except OSError:
        os.ftruncate(descriptor, before)
        return False
    finally:
        os.close(descriptor)
    return True
