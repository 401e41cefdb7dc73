"""Failpoints of the crash matrix: end by SIGKILL at a named place. Without HIVE_FAILPOINT they do nothing."""

from __future__ import annotations

import os
import signal

_ARMED = os.environ.get("HIVE_FAILPOINT", "")


def arm(name: str) -> None:
    """Arm the failpoint `name`; "" disarms. For processes that tests fork."""
    global _ARMED
    _ARMED = name


def hit(name: str) -> None:
    """End this process by SIGKILL if the failpoint `name` is armed."""
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
