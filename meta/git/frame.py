"""The frame of one of hive's repos: its configuration, its HEAD and its folders. It is the same in each of them."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from meta import own_file
from meta.errors import Damaged, TransientError
from meta.git.config import CONFIG, is_own, is_part
from meta.git.files import unreadable, write_durably
from meta.own_file import sync_folder

_REMEDY = "restart the daemon: it writes this file again"
_MOVE_AWAY = "move it away and restart the daemon: it writes this file again"
_HEAD = b"ref: refs/heads/main\n"


def check_frame(git_dir: Path) -> bool:
    """Return True if `git_dir` is a whole repo, False if it does not exist or was never finished. Raise Damaged.

    The configuration is written last when a repo is created. If it is hive's, everything else existed once.
    """
    config = _content(git_dir / "config")
    if not is_own(config):
        if config.strip(b"\0").strip() and not is_part(config):
            raise Damaged(git_dir / "config", "it has lines that hive does not write", _REMEDY)
        if _was_used(git_dir):
            raise Damaged(git_dir / "config", "it is missing, empty or cut short", _REMEDY)
        return (git_dir / "HEAD").is_file() and (git_dir / "refs").is_dir()
    for name in ("refs", "objects"):
        if not (git_dir / name).is_dir():
            raise Damaged(git_dir / name, "it is missing")
    if not _is_head(_content(git_dir / "HEAD")):
        raise Damaged(git_dir / "HEAD", "it is missing, empty or names no branch", _REMEDY)
    return True


def mend_frame(git_dir: Path) -> list[Path]:
    """Write HEAD and the configuration again if they are damaged, and return what was written. Only for recovery.

    Replace a pipe or a link in their place. Leave what cannot be read or written: the repo stays damaged.
    """
    mended: list[Path] = []
    for name, content, is_whole in (("config", CONFIG.encode(), is_own), ("HEAD", _HEAD, _is_head)):
        path = git_dir / name
        with contextlib.suppress(Damaged, TransientError, OSError):
            if not _is_damaged(git_dir):
                break
            if not own_file.is_regular(path) or not is_whole(_content(path)):
                write_durably(path, content, 0o644)
                sync_folder(git_dir)
                mended.append(path)
    return mended


def _is_damaged(git_dir: Path) -> bool:
    try:
        check_frame(git_dir)
    except Damaged:
        return True
    return False


def _content(path: Path) -> bytes:
    try:
        return own_file.read(path, hint=_MOVE_AWAY)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise unreadable(path, error) from error


def _is_head(head: bytes) -> bool:
    return re.fullmatch(rb"ref: refs/[\x21-\x7e]+\n?|[0-9a-f]{40}\n?", head) is not None


def _was_used(git_dir: Path) -> bool:
    """Return True if there is a tag or a branch: hive writes them only into a finished repo."""
    return any((git_dir / "refs").glob("tags/*/*")) or any((git_dir / "refs/heads").glob("*"))
