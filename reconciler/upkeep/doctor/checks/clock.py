"""The clock of the host: whether it is synchronised, and whether it jumped while the daemon ran."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from meta import own_file
from meta.errors import Damaged

_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than any struct timex; with modes = 0 nothing is set."""
_START = 19
"""The field of /proc/PID/stat with the start time, counted after the name."""


def synchronised() -> bool | None:
    """Return False if the kernel reports that its clock is not synchronised. Return None if it reports nothing."""
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None:
        return None
    state = int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return None if state < 0 else state != _TIME_ERROR


def advice(systemd: Path) -> str:
    """Return how to synchronise the clock. In a container, or without systemd, timedatectl cannot do it."""
    if (systemd / "system").is_dir() and not (systemd / "container").exists():
        return "timedatectl set-ntp true, unless the host of this machine sets its clock"
    return "let the host of this machine, or a daemon like chrony, set the clock"


def jumped(proc: Path, lock: Path, now: float) -> float:
    """Return the seconds by which the clock was set forward since the daemon took `lock` (back: negative), or 0.0.

    The time of the lock was read from the clock when the daemon began. The kernel counts the seconds since then with a
    clock that never jumps.
    """
    try:
        pid = int(own_file.read(lock))
        fields = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        up = float((proc / "uptime").read_text(encoding="ascii").split()[0])
        ran = up - int(fields[_START]) / os.sysconf("SC_CLK_TCK")
        return now - lock.stat().st_mtime - ran
    except (OSError, Damaged, ValueError, IndexError):
        return 0.0
