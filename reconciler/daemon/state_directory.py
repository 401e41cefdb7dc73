"""The state directory as a daemon finds it at its start: what is made, what is removed, and whose it is."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from meta.errors import PermanentError
from meta.git.files import remove_stale_locks
from meta.layout import FOLDER_MODE, FOLDERS, Layout

STATE_MODE = 0o711
"""Others may pass (agents run under uids of their own), not look."""


def refuse_another_backends(layout: Layout, mine: str, backends: Iterable[str]) -> None:
    """Two backends would each start the same agents. (An operator's shell need not know which one it is.)"""
    for other in backends:
        folder = layout.backend(other)
        if other != mine and folder.is_dir() and any(folder.iterdir()):
            raise PermanentError(
                f"the containers of {layout.state} are of backend {other!r}, not {mine!r}",
                f"use --backend {other} (HIVE_BACKEND), or another --state",
            )


def prepare(layout: Layout) -> None:
    """Every directory that is hive's own. OSError."""
    for path in (layout.runtime, layout.runtime / "agents", layout.processes):
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    for name in FOLDERS:
        (layout.state / name).mkdir(mode=FOLDER_MODE, exist_ok=True)


def clear_leftovers(layout: Layout) -> None:
    """What an earlier daemon was fetching or making, and the locks of its git."""
    for scratch in (layout.quarantine, layout.scratch):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
    for git_dir in (layout.meta_git, *(path / ".git" for path in (layout.state / "applied").iterdir())):
        if git_dir.is_dir():
            remove_stale_locks(git_dir)


def owner(path: Path) -> str:
    """The random id of the state directory, made once."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.write_text(secrets.token_hex(16), encoding="ascii")
        fresh.rename(path)
    return path.read_text(encoding="ascii").strip()
