"""Files that decide what runs without being asked about: only root and hive's own user may be able to change them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from meta.errors import Refused
from meta.process import ownership

MEND_FILE = "make it root's, with the mode 0644"
MEND_FOLDER = "make it root's, with the mode 0755"
_OTHERS_WRITE = 0o022


def resolve(path: Path) -> tuple[Path, os.stat_result]:
    """Return where an absolute path leads, links followed, and the status of that.

    Raise Refused if others could change or replace any part of it, OSError if it is missing or cannot be looked at.
    """
    for part, status, _ in ownership.way(path):
        check(path, part, status)
    real = path.resolve(strict=True)
    return real, real.lstat()


def check(path: Path, part: Path, status: os.stat_result) -> None:
    """Raise Refused if others could change `part`, which leads to `path` or lies in it.

    A folder that all may write to is accepted if it is sticky: nobody can replace what root has there.
    """
    why = ""
    if status.st_uid not in (0, os.geteuid()):
        why = f"{part} belongs to the uid {status.st_uid}"
    elif status.st_mode & _OTHERS_WRITE and not _is_safe(status.st_mode):
        why = f"{part} has the mode {stat.S_IMODE(status.st_mode):04o}"
    if why:
        raise Refused(
            f"{path} is not used: others than root could have written it ({why}), and what it declares is approved",
            MEND_FOLDER if stat.S_ISDIR(status.st_mode) else MEND_FILE,
        )


def _is_safe(mode: int) -> bool:
    """Return True if write permission for all changes nothing: a link, and a sticky folder."""
    return stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX))
