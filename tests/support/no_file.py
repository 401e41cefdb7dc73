"""What somebody may leave in the place of a small file."""

from __future__ import annotations

import os
from pathlib import Path

KINDS = ("folder", "pipe", "link")


def make(path: Path, kind: str) -> None:
    """Make a folder with something in it, a pipe, or a link to a file without an end."""
    path.parent.mkdir(exist_ok=True)
    if kind == "folder":
        (path / "deep").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
