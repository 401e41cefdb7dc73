"""The files that a CLI reads at its start: closed to all but the harness and the CLI. One of them has the token."""

from __future__ import annotations

import os
import stat
from pathlib import Path

SHARED = 0o2750
"""The mode of a folder of such files if the CLI has another uid: its group is the CLI's, and that of the files."""


def write_private(path: Path, text: str) -> None:
    """Replace a file. Its owner can read it, and its group if that can read the folder. Raise OSError."""
    shared = stat.S_IMODE(path.parent.stat().st_mode) & 0o040
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        file.write(text)
        os.fchmod(file.fileno(), 0o600 | shared)
    temporary.replace(path)
