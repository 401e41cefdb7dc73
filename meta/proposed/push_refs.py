"""Refs of a push repo that hive moves itself: its `main`, and the tags of what was deployed.

They are moved as git moves them: under a lock file, from a value that is read again once the lock is held. So a push at
the same moment is first or fails, and is never overwritten. Pushers write here: each folder is opened by a descriptor
that follows no symlink, and a lock that another git holds is respected. No git of hive's opens the repo.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from meta.git.in_use import in_use
from meta.model import TagState
from meta.names import Sha
from meta.process.disk import NO_DESCRIPTOR
from meta.proposed.tips import PACKED_LIMIT, Tip

MAIN = "main"
LEFT_LOCK = 60.0
"""Seconds after which a lock of hive's own user is one that a killed daemon left, if no process works in the repo."""
_AT_ONCE = 500
"""Branches that are removed under one lock. A push waits a second for it."""

_HEADER = "# pack-refs with: sorted \n"
_LINE = re.compile(r"([0-9a-f]{40}) (refs/[^\x00-\x20\x7f]{1,4096})")
_SHA = re.compile(r"[0-9a-f]{40}")
_OWN_TAG = re.compile(rf"refs/tags/(?:{'|'.join(TagState)})/[0-9]+")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def packed(repo: Path) -> dict[str, Sha] | None:
    """Return the packed refs; None if the file is not as git or hive writes it. OSError."""
    with _folder(repo) as top:
        return _packed(top)


def main_of(repo: Path) -> Sha | None:
    """Return the commit of `main`; None if there is no such branch, or none that can be read. OSError."""
    with _folder(repo) as top, _folder(repo, "refs", "heads") as heads:
        return _main(top, heads)


def move_main(repo: Path, old: Sha | None, new: Sha) -> bool:
    """Move `main` from `old` to `new`. Return False if it is elsewhere by now, or if a push has it locked. OSError."""
    with _folder(repo) as top, _folder(repo, "refs", "heads") as heads, _lock(repo, heads, MAIN) as lock:
        present = _main(top, heads)
        if present == new:
            return True  # another look of hive's was first
        if lock is None or present != old or _is_folder(heads, MAIN):
            return False
        os.write(lock, f"{new}\n".encode())
        _install(heads, MAIN, lock, None)
        return True


def remove_branches(repo: Path, tips: Iterable[Tip], before: float) -> tuple[Tip, ...]:
    """Remove the branches that are as the tips say and were written before `before`. Return those that are gone.

    A branch stays if it moved or was pushed again, if a push has it locked, or if git packed it. OSError.
    """
    left, removed = list(tips), list[Tip]()
    while left:
        removed += _remove_some(repo, left[:_AT_ONCE], before)
        del left[:_AT_ONCE]
    return tuple(removed)


def _remove_some(repo: Path, tips: Iterable[Tip], before: float) -> list[Tip]:
    folders: dict[str, list[tuple[str, Tip]]] = {}
    for tip in tips:
        folder, _, name = tip.branch.rpartition("/")
        folders.setdefault(folder, []).append((name, tip))
    removed: list[Tip] = []
    with _folder(repo) as top, _lock(repo, top, "packed-refs") as lock:  # git packs nothing meanwhile
        packed_refs = _packed(top) if lock is not None else None
        if packed_refs is None:
            return []
        for folder, branches in folders.items():
            loose = [(name, tip) for name, tip in branches if f"refs/heads/{tip.branch}" not in packed_refs]
            with contextlib.suppress(OSError):  # a push changes the folder
                removed += _remove_loose(repo, folder, loose, before)
    return removed


def _remove_loose(repo: Path, path: str, branches: Iterable[tuple[str, Tip]], before: float) -> list[Tip]:
    """Remove branches of one folder, durably."""
    removed = []
    with _folder(repo, "refs", "heads", *filter(None, path.split("/"))) as folder:
        for name, tip in branches:
            with contextlib.suppress(OSError), _lock(repo, folder, name) as lock:
                if lock is not None and _is_at(folder, name, tip, before):
                    os.unlink(name, dir_fd=folder)
                    removed.append(tip)
        if removed:
            os.fsync(folder)
    return removed


def _is_at(folder: int, name: str, tip: Tip, before: float) -> bool:
    text, status = _text(folder, name, 64), _status(folder, name)
    return text is not None and text.strip() == tip.sha and status is not None and status.st_mtime < before


def put_tags(repo: Path, tags: Mapping[str, Sha]) -> bool:
    """Make `tags` hive's packed tags, in place of those that it wrote before; other packed refs stay as they are.

    A tag that a person pushed under the same name stays theirs: git reads it first. Return False if a git has the
    packed refs locked, or if they are not as git writes them. OSError.
    """
    with _folder(repo) as top, _lock(repo, top, "packed-refs") as lock:
        before = _packed(top) if lock is not None else None
        if lock is None or before is None:
            return False
        refs = {ref: sha for ref, sha in before.items() if not _OWN_TAG.fullmatch(ref)} | dict(tags)
        text = _HEADER + "".join(f"{refs[ref]} {ref}\n" for ref in sorted(refs, key=_bytes))
        data = _bytes(text)
        if len(data) > PACKED_LIMIT:
            return False  # then its branches would not be read either
        with os.fdopen(os.dup(lock), "wb") as file:
            file.write(data)
        _install(top, "packed-refs", lock, _status(top, "packed-refs"))
        return True


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


# reading
def _main(top: int, heads: int) -> Sha | None:
    text = _text(heads, MAIN, 64)
    if text is not None:
        return Sha(text.strip()) if _SHA.fullmatch(text.strip()) else None
    return (_packed(top) or {}).get(f"refs/heads/{MAIN}")


def _packed(top: int) -> dict[str, Sha] | None:
    if _status(top, "packed-refs") is None:
        return {}
    text = _text(top, "packed-refs", PACKED_LIMIT)
    if text is None:
        return None
    refs = {}
    for line in text.split("\n"):
        if not line or line.startswith(("#", "^")):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        refs[match[2]] = Sha(match[1])
    return refs


def _text(folder: int, name: str, limit: int) -> str | None:
    """Return the text of a plain file; None if it is missing, longer than `limit`, or something else.

    Raise OSError if there is no descriptor left.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in NO_DESCRIPTOR:
            raise
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        data = os.read(descriptor, limit + 1)
        return data.decode(errors="surrogateescape") if len(data) <= limit else None  # git takes a name of any bytes
    finally:
        os.close(descriptor)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_folder(folder: int, name: str) -> bool:
    """Return True if there are branches below a folder of this name: `main/x` leaves no place for `main`."""
    status = _status(folder, name)
    return status is not None and not stat.S_ISREG(status.st_mode)


# writing
@contextlib.contextmanager
def _folder(repo: Path, *parts: str) -> Iterator[int]:
    descriptor = os.open(repo, _FOLDER)
    try:
        for part in parts:
            above, descriptor = descriptor, os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(above)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lock(repo: Path, folder: int, name: str) -> Iterator[int | None]:
    """Hold git's lock of `name` inside the block, unless `_install` used it up. Yield None if another git has it."""
    lock = f"{name}.lock"
    try:
        descriptor = os.open(lock, _NEW, 0o644, dir_fd=folder)
    except FileExistsError:
        _remove_left(repo, folder, lock)
        yield None
        return
    try:
        yield descriptor
    finally:
        here, there = os.fstat(descriptor), _status(folder, lock)
        if there is not None and (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            os.unlink(lock, dir_fd=folder)
        os.close(descriptor)


def _remove_left(repo: Path, folder: int, lock: str) -> None:
    """Remove a lock that a killed daemon left, for the next try."""
    status = _status(folder, lock)
    if status is None or status.st_uid != os.geteuid() or time.time() - status.st_mtime < LEFT_LOCK:
        return
    if not in_use(repo):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(lock, dir_fd=folder)


def _install(folder: int, name: str, lock: int, before: os.stat_result | None) -> None:
    """Rename the lock to `name`, durably, with the rights that a file there has; keep the owner that it had."""
    if before is not None:
        with contextlib.suppress(PermissionError):
            os.fchown(lock, before.st_uid, before.st_gid)
    os.fchmod(lock, 0o664 if os.fstat(folder).st_mode & stat.S_IWGRP else 0o644)
    os.fsync(lock)
    os.rename(f"{name}.lock", name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)
