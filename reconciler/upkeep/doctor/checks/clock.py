"""What the clock did: whether the kernel says that somebody keeps it, and whether it jumped while the daemon ran."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than any struct timex; with modes = 0 nothing is set."""
_START = 19
"""The field of /proc/PID/stat that says when it began, counted behind the name."""


def synchronised() -> bool | None:
    """False when the kernel says that nobody keeps its clock; None when it does not say."""
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None:
        return None
    state = int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return None if state < 0 else state != _TIME_ERROR


def advice(systemd: Path) -> str:
    """How to have the clock kept: in a container, or where no systemd runs, timedatectl does not do it."""
    if (systemd / "system").is_dir() and not (systemd / "container").exists():
        return "timedatectl set-ntp true, unless the host of this machine does it"
    return "have the host of this machine, or a daemon like chrony, keep it"


def jumped(proc: Path, lock: Path, now: float) -> float:
    """Seconds by which the clock was set forward since the daemon took `lock` (back: negative); 0.0 when unknown.

    The lock was written when the daemon began, by the clock of then; the kernel knows how long ago that was by a clock
    that never jumps.
    """
    try:
        pid = int(lock.read_text(encoding="ascii"))
        began = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        up = float((proc / "uptime").read_text(encoding="ascii").split()[0])
        ran = up - int(began[_START]) / os.sysconf("SC_CLK_TCK")
        return now - lock.stat().st_mtime - ran
    except (OSError, ValueError, IndexError):
        return 0.0
