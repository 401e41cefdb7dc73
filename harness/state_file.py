"""Small files in /state. The agent can write there too, and the disk can be full, read-only or missing.

So a file is read with a limit and only if it is a regular one, and a failed write is a warning: the harness goes on
with what it has in memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from meta import own_file
from meta.errors import Damaged

log = logging.getLogger(__name__)

LIMIT = 256 * 1024
"""Bytes of a file, at most."""


def read(path: Path, limit: int = LIMIT) -> str | None:
    """Return the text of a file. None if there is none, or none that can be read as text of at most `limit` bytes."""
    try:
        return own_file.read(path, limit).decode()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, Damaged) as error:
        log.warning("%s is ignored: %s", path, error)
        return None


def write(path: Path, text: str) -> str | None:
    """Replace a file at once, for its owner alone. Return None, or why it failed."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        return _warn(path, error)
    return None


def remove(path: Path) -> str | None:
    """Remove a file. Return None, or why it failed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return _warn(path, error)
    return None


def _warn(path: Path, error: OSError | ValueError) -> str:
    why = f"{path} cannot be written: {(isinstance(error, OSError) and error.strerror) or error}"
    log.warning("%s", why)
    return why
