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

log = logging.getLogger(__name__)

SHARE = 100
"""The reserve is at most one part in this many of its file system."""
LOW = 4 * 2**20
"""The disk is full if it has less free bytes than this, or than a quarter of such a share."""
INODES = 64
"""Empty files of the reserve. Each gives back an inode."""


@dataclass(frozen=True, slots=True)
class Room:
    """The free part of a file system, for others than root. `inodes` is None if it does not count them."""

    free: int
    whole: int
    inodes: int | None = None

    def describe(self) -> str:
        """Return what is free, in words."""
        inodes = f" and {self.inodes} inodes" if self.inodes is not None and self.inodes < INODES else ""
        return f"{size(self.free)}{inodes} free of {size(self.whole)}"


class Reserve:
    """The reserve in `folder`, of at most `most` bytes (0: none). Its parent exists. Every method may block."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._blocks = folder / "blocks"
        self._most = most

    def room(self) -> Room:
        """Return what is free. Raise OSError."""
        status = os.statvfs(self._folder.parent)
        inodes = status.f_favail if status.f_files else None  # btrfs and others do not count them
        return Room(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize, inodes)

    def wanted(self, room: Room) -> int:
        """Return the bytes that the whole reserve has on this file system."""
        return min(self._most, room.whole // SHARE)

    def is_full(self, room: Room) -> bool:
        """Return True if the disk is full: a write of a few pages may fail."""
        return room.free < min(LOW, room.whole // SHARE // 4) or (room.inodes is not None and room.inodes < INODES // 2)

    def held(self) -> int:
        """Return the bytes that the reserve has now."""
        try:
            return self._blocks.stat().st_size
        except OSError:
            return 0

    def has_room(self, room: Room) -> bool:
        """Return True if the whole reserve can be made again, and the disk is not full afterwards."""
        left = room.free + self.held() - self.wanted(room)
        return left >= self.wanted(room) and (room.inodes is None or room.inodes >= 2 * INODES)

    def make(self) -> bool:
        """Make it. If the whole of it has no room, make a half, a quarter or an eighth. Return False if none has."""
        try:
            wanted = self.wanted(self.room())
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not any(self.held() >= wanted // part or self._allocate(wanted // part) for part in (1, 2, 4, 8)):
                return False
            for number in range(INODES):
                (self._folder / f"inode-{number}").touch(mode=0o600)
        except OSError as error:
            log.debug("the reserve cannot be made: %s", error)
            return False
        return True

    def give_back(self) -> int:
        """Remove it. Return the bytes that are free by that."""
        held = self.held()
        with contextlib.suppress(OSError):
            if held:  # its blocks are free even if its name cannot be removed
                os.truncate(self._blocks, 0)
        shutil.rmtree(self._folder, ignore_errors=True)
        return held

    def _allocate(self, length: int) -> bool:
        descriptor = os.open(self._blocks, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if length:
                os.posix_fallocate(descriptor, 0, length)
        except OSError:
            os.ftruncate(descriptor, 0)
            return False
        finally:
            os.close(descriptor)
        return True


def size(count: int) -> str:
    """Return a number of bytes in words: 512 B, 3.2 MiB."""
    value, units = float(count), ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units:
        if value < 1024 or unit == units[-1]:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
