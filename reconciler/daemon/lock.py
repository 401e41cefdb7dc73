"""The flock of a state directory, which its one daemon holds for as long as it lives."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from meta.errors import Conflict

TRIES = 10
PAUSE = 0.05
"""Seconds between tries: who only looks whether a daemon runs (`hive doctor`) holds the lock for a moment, too."""


def take_lock(path: Path) -> int:
    """The descriptor that holds the lock until it is closed; the file says whose it is. Conflict when it is held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if left:
                time.sleep(PAUSE)
                continue
            holder = path.read_text(encoding="ascii").strip()
            os.close(descriptor)
            raise Conflict(
                f"another daemon (pid {holder or 'unknown'}) has {path.parent}", "stop it first, or use another --state"
            ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
