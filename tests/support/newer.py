"""A state directory as a newer hive leaves it, and what is in a directory at one moment."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path

SCHEMA = 999


def make_newer(path: Path, script: str = "") -> None:
    """Give the database at `path` a schema that this hive does not know, and run `script` in it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{script} PRAGMA user_version = {SCHEMA};")


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, time of the last change and hash of everything below `folder`."""
    return {str(path.relative_to(folder)): _state(path) for path in [folder, *folder.rglob("*")]}


def _state(path: Path) -> tuple[int, int, str]:
    status = path.lstat()
    content = path.read_bytes() if path.is_file() else b""
    return status.st_mode, status.st_mtime_ns, hashlib.sha256(content).hexdigest()
