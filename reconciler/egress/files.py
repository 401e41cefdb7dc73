"""Atomic writes: after a crash a file is either the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from meta.own_file import sync_folder


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` atomically; it is on the disk when this returns. Raise OSError, and leave the old one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)
