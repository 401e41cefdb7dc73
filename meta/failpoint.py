"""Failpoints for the crash matrix: die by SIGKILL at a named place. Inert unless HIVE_FAILPOINT is set."""

from __future__ import annotations

import os
import signal

_ARMED = os.environ.get("HIVE_FAILPOINT", "")


def arm(name: str) -> None:
    """Die at `name`; "" disarms. For processes that were forked ready-made (tests)."""
    global _ARMED
    _ARMED = name


def hit(name: str) -> None:
    """Die here if this failpoint is armed."""
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
