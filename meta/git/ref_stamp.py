"""A stamp of the refs of a repo: it shows without a process that a ref changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from meta.errors import HiveError
from meta.git.files import unreadable
from meta.git.frame import check_frame

_SETTLED = 0.05
"""Seconds after which a folder's time stamp is sure to differ from that of the next change."""


class RefStamp:
    """A short text that changes whenever a ref in one of `folders` does, also if a person moved it.

    Reading it again costs one `stat` per folder, one for `packed-refs`, and no process. A folder's time stamp is only
    as fine as the kernel's tick. So for a folder that changed just now, the names and inodes in it are compared too.
    The text depends on the files alone: it is the same after a restart.
    """

    def __init__(self, git_dir: Path, folders: Sequence[str]) -> None:
        self._git_dir = git_dir
        self._paths = [str(git_dir), *(f"{git_dir}/{folder}" for folder in folders)]
        self._known: list[tuple[int, int] | None] = [(-1, -1)] * len(self._paths)
        self._parts = [""] * len(self._paths)
        self._text: str | None = None

    def read(self) -> str | None:
        """Return the present stamp; None if there is no repo. Raise Damaged, or TransientError without a descriptor."""
        try:
            return self._read()
        except HiveError:
            self._known = [(-1, -1)] * len(self._paths)  # look again next time
            raise

    def _read(self) -> str | None:
        changed = False
        for index, path in enumerate(self._paths):
            try:
                status = os.stat(path)  # noqa: PTH116 - the hot path: half the cost of Path.stat
                signature = (status.st_ino, status.st_mtime_ns)
            except (FileNotFoundError, NotADirectoryError):
                signature = None
            except OSError as error:
                raise unreadable(path, error) from error
            if signature != self._known[index]:
                try:
                    self._look(index, path, signature)
                except OSError as error:
                    raise unreadable(path, error) from error
                changed = True
        if changed:
            self._text = self._digest() if check_frame(self._git_dir) else None
        return self._text

    def _digest(self) -> str:
        text = "\n".join(self._parts).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=10).hexdigest()

    def _look(self, index: int, path: str, signature: tuple[int, int] | None) -> None:
        now = time.time_ns()
        if signature is None:
            self._parts[index] = "-"
        elif index == 0:  # the git directory itself: only packed-refs in it counts
            self._parts[index] = _packed_stamp(path)
        else:
            self._parts[index] = f"{signature[1]} {_listing(path)}"
        settled = signature is None or abs(now - signature[1]) > _SETTLED * 1e9
        self._known[index] = signature if settled else (-1, -1)


def _listing(folder: str) -> str:
    """Return names and inodes of the refs in a folder."""
    try:
        with os.scandir(folder) as entries:
            refs = sorted((e.name, e.inode()) for e in entries if not e.name.endswith(".lock") and e.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return "-"
    return " ".join(f"{name}:{inode}" for name, inode in refs)


def _packed_stamp(git_dir: str) -> str:
    try:
        status = Path(git_dir, "packed-refs").stat()
    except (FileNotFoundError, NotADirectoryError):
        return "-"
    return f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"
