"""A check that a push repo is as hive made it, so that a git of the next person who pushes obeys nothing else.

The owner of a push can put files in it, and an operator can be misled to. `git receive-pack` runs as the person who
pushes: it reads the configuration, runs hooks, appends to logs and follows links. So each look compares the repo with
the short list of what hive and a push write. The check opens no file that is not hive's own and follows no symlink.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from meta.process.disk import raise_if_no_descriptor

SETTINGS = """[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tsharedRepository = 0664
\thooksPath = /dev/null
[receive]
\tdenyNonFastForwards = false
\tdenyDeletes = false
\tfsckObjects = true
\tautogc = false
\tmaxInputSize = {most}
[gc]
\tauto = 0
"""
OWN_FILES = ("HEAD", "config", "commondir", "config.worktree")
"""hive's own files: the sticky bit of the folder keeps pushers from replacing them."""

_CONTENT = {
    "HEAD": re.compile(r"ref: refs/heads/[^\x00-\x20\x7f]{1,200}\n"),
    "config": re.compile(re.escape(SETTINGS).replace(re.escape("{most}"), "[0-9]{1,20}")),
    "commondir": re.compile(r"\.\n"),
    "config.worktree": re.compile(""),
}
_FOLDERS = ("objects", "refs", "info", "objects/info", "objects/pack", "refs/heads", "refs/tags")
_CLOSED = ("info", "objects/info")
"""Folders in which only hive's own user writes."""
_TOP_FILE = re.compile(
    r"packed-refs(\.new)?|shallow(_\w{6})?|FETCH_HEAD|ORIG_HEAD|description|gc\.pid|gc\.log|[\w.-]+\.lock"
)
_TOP_FOLDERS = ("objects", "refs", "info", "logs")
_INFO_FILE = re.compile(r"refs(_\w{6})?|exclude")
_OBJECTS_INFO = re.compile(r"packs(_\w{6})?|commit-graph|commit-graphs|commit-graph\.lock")
_OBJECTS_FOLDER = re.compile(r"[0-9a-f]{2}|info|pack|tmp_objdir-[\w-]+")
_MOST_REFS = 5000
"""Entries below refs and objects/pack that one look goes through."""
_TEXT_LIMIT = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def fault(repo: Path, owner: int) -> str | None:
    """Return the first thing in `repo` that is not as `owner`, the uid of hive, made it; None if there is none.

    Raise TransientError if there is no descriptor left to look at it with.
    """
    try:
        top = os.open(repo, _FOLDER)
    except OSError as error:
        raise_if_no_descriptor(f"cannot look at {repo}", error)
        return f"it cannot be opened as a directory: {error.strerror}"
    try:
        return next(_faults(top, owner), None)
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except OSError as error:
        raise_if_no_descriptor(f"cannot look at {repo}", error)
        return f"{error.filename or 'a part of it'} cannot be read: {error.strerror}"
    finally:
        os.close(top)


def _faults(top: int, owner: int) -> Iterator[str]:
    yield from _folder_faults(top, owner)
    yield from _own_file_faults(top, owner)
    yield from _entry_faults(top, "", lambda name: bool(_TOP_FILE.fullmatch(name)) or name in OWN_FILES, _is_top_folder)
    yield from _entry_faults(top, "info", _matches(_INFO_FILE), lambda _: False)
    yield from _entry_faults(top, "objects", lambda _: False, _matches(_OBJECTS_FOLDER))
    yield from _entry_faults(top, "objects/info", _matches(_OBJECTS_INFO), _matches(_OBJECTS_INFO))
    yield from _entry_faults(top, "objects/pack", lambda _: True, lambda _: False)
    yield from _log_faults(top, owner)
    yield from _ref_faults(top)


def _folder_faults(top: int, owner: int) -> Iterator[str]:
    for name in ("", *_FOLDERS):
        status = os.stat(name, dir_fd=top, follow_symlinks=False) if name else os.fstat(top)
        if not stat.S_ISDIR(status.st_mode):
            yield f"{name} is not a directory"
        elif status.st_uid != owner:
            yield f"{name or 'it'} belongs to uid {status.st_uid}, not to hive's uid {owner}"
        elif status.st_mode & (0o022 if name in _CLOSED else 0o002):
            yield f"others may write in {name or 'it'}"
        elif name in ("", "objects", "refs") and status.st_mode & 0o020 and not status.st_mode & stat.S_ISVTX:
            yield f"{name or 'it'} has lost its sticky bit, so pushers may replace hive's files"


def _own_file_faults(top: int, owner: int) -> Iterator[str]:
    for name in OWN_FILES:
        status = os.stat(name, dir_fd=top, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            yield f"{name} is not a file"
        elif status.st_uid != owner or status.st_mode & 0o022:
            yield f"{name} of uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}, may be written by others"
        elif not _CONTENT[name].fullmatch(_text(top, name)):
            yield f"{name} is not hive's: git obeys it"


def _text(top: int, name: str) -> str:
    descriptor = os.open(name, _FILE, dir_fd=top)
    try:
        return os.read(descriptor, _TEXT_LIMIT).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def _is_top_folder(name: str) -> bool:
    return name in _TOP_FOLDERS


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda name: pattern.fullmatch(name) is not None


def _entry_faults(
    top: int, folder: str, is_file: Callable[[str], bool], is_folder: Callable[[str], bool]
) -> Iterator[str]:
    """Yield each entry of `folder` that is neither a file nor a folder that hive or a push writes there."""
    for number, entry in enumerate(_entries(top, folder)):
        if number > _MOST_REFS:
            return
        if entry.is_dir(follow_symlinks=False):
            if not is_folder(entry.name):
                yield f"it has a folder {_path(folder, entry)}, which git may obey"
        elif entry.is_file(follow_symlinks=False):
            if not is_file(entry.name):
                yield f"it has a file {_path(folder, entry)}, which git may obey"
        elif entry.is_symlink():
            yield f"{_path(folder, entry)} is a symlink"
        elif _still(entry):
            yield f"{_path(folder, entry)} is neither a file nor a folder"


def _path(folder: str, entry: os.DirEntry[str]) -> str:
    return ascii(f"{folder}/{entry.name}".lstrip("/"))


def _still(entry: os.DirEntry[str]) -> bool:
    """Return True if the entry is a fifo, socket or device, and did not just disappear."""
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _entries(top: int, folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder. No part of its path may be a symlink, which `_folder_faults` has checked."""
    descriptor = os.open(folder or ".", _FOLDER, dir_fd=top)
    try:
        with os.scandir(descriptor) as entries:
            yield from entries
    finally:
        os.close(descriptor)


def _log_faults(top: int, owner: int) -> Iterator[str]:
    """`logs` is empty and closed: git appends to a log that exists, also through a symlink."""
    try:
        status = os.stat("logs", dir_fd=top, follow_symlinks=False)
    except FileNotFoundError:
        return
    if status.st_uid != owner or status.st_mode & 0o022 or any(True for _ in _entries(top, "logs")):
        yield "it has logs, to which git appends"


def _ref_faults(top: int) -> Iterator[str]:
    """Symlinks anywhere below `refs`: git would write through them."""
    seen = 0
    for folder, folders, files, descriptor in os.fwalk("refs", dir_fd=top, follow_symlinks=False):
        for name in (*folders, *files)[: _MOST_REFS - seen]:
            try:
                mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            except FileNotFoundError:
                continue  # a push removed it meanwhile
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                yield f"{f'{folder}/{name}'!a} is neither a file nor a folder"
        seen += len(folders) + len(files)
        if seen >= _MOST_REFS:
            return
