"""Atomic writes: after a crash a file is either the old one or the new one."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path

from meta.own_file import sync_folder


def write_file(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Replace `path` atomically. With `sync` it is on disk when this returns. The directory must exist."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(fd)
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync:
        sync_folder(path.parent)


def write_json(path: Path, value: object, *, mode: int = 0o644, sync: bool = True) -> None:
    """Write `value` as JSON with a line end, as `write_file` does."""
    write_file(path, json.dumps(value, sort_keys=True).encode() + b"\n", mode=mode, sync=sync)
