"""The flock of a state directory. Its one daemon holds it until it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from meta import own_file
from meta.errors import Conflict, Damaged

TRIES = 10
PAUSE = 0.05
"""Seconds between tries. `hive doctor` also holds the lock, for a moment, to find out whether a daemon runs."""


def take_lock(path: Path) -> int:
    """Return the descriptor that holds the lock until it is closed. Write the daemon's pid to the file.

    Raise Conflict if another process holds the lock, Damaged if it is no file.
    """
    if os.path.lexists(path) and not own_file.is_regular(path):
        raise Damaged(path, "it is not a file", "remove it if no other daemon runs there, and start again")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if left:
                time.sleep(PAUSE)
                continue
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise Conflict(
                f"another daemon (pid {holder or 'unknown'}) has {path.parent}", "stop it first, or use another --state"
            ) from error
    with contextlib.suppress(OSError):  # on a full disk the file does not name the holder
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
