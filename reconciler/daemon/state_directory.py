"""The state directory at the start of a daemon: its folders, the leftovers in it, and its owner."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from meta import own_file
from meta.applied import older
from meta.errors import Damaged, PermanentError
from meta.git.files import remove_stale_locks, unreadable
from meta.git.frame import mend_frame
from meta.layout import FOLDER_MODE, FOLDERS, Layout

log = logging.getLogger(__name__)

_OWNER = "write the id back that `owner` has in backend/*/*/hive.json beside it"
STATE_MODE = 0o711
"""Others may pass (agents run under uids of their own), not look."""


def refuse_another_backends(layout: Layout, mine: str, backends: Iterable[str]) -> None:
    """Raise an error if another backend uses this state directory: both would start the same agents.

    An operator's shell need not know the backend.
    """
    for other in backends:
        folder = layout.backend(other)
        if other != mine and folder.is_dir() and any(folder.iterdir()):
            raise PermanentError(
                f"the containers of {layout.state} are of backend {other!r}, not {mine!r}",
                f"use --backend {other} (HIVE_BACKEND), or another --state",
            )


def prepare(layout: Layout) -> None:
    """Make every directory of hive's own. Raise OSError on failure."""
    for path in (layout.runtime, layout.runtime / "agents", layout.processes):
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    for name in FOLDERS:
        (layout.state / name).mkdir(mode=FOLDER_MODE, exist_ok=True)


def clear_locks(layout: Layout) -> None:
    """Remove the locks of an earlier daemon's git. Write damaged files again if they are the same in each repo.

    A repo of an older hive is left as it is: its configuration is another one.
    """
    folders = [path for path in (layout.state / "applied").iterdir() if not older.is_older(path)]
    for git_dir in (layout.meta_git, *(path / ".git" for path in folders)):
        if git_dir.is_dir():
            remove_stale_locks(git_dir)
            for path in mend_frame(git_dir):
                log.warning("%s was damaged; it was written again", path)


def owner(path: Path) -> str:
    """Return the random id of the state directory. Make it once."""
    try:
        if not os.path.lexists(path):
            own_file.write(path, secrets.token_hex(16).encode())
        name = own_file.read(path, hint=_OWNER).decode("ascii", "replace").strip()
    except OSError as error:
        raise unreadable(path, error) from error
    if len(name) != 32 or not set("0123456789abcdef").issuperset(name):
        raise Damaged(path, "it holds no id", _OWNER)
    return name
