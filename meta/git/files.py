"""A repo's files, read and written without a process: loose objects, refs, lock files.

Only for repos that hive itself owns. An object is written as git with `core.fsync=all` writes it: first its content,
synced to the disk, then its name. Refs are only read here; git moves them (`meta/git/repo.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from meta import own_file
from meta.errors import Damaged, HiveError
from meta.git.objects import GitObject
from meta.names import Sha
from meta.own_file import sync_folder
from meta.process.disk import NO_DESCRIPTOR, disk_error

_HEX = frozenset("0123456789abcdef")
_SETTLED_NS = 50_000_000
"""Nanoseconds after which the next change is sure to get another time stamp."""
OWN_REF = re.compile(r"/refs/(?:tags/[^/]+/[^/]+|heads/(?:main|run)|hive/(?:seed|counter|candidate/[^/]+))\Z")
"""The end of the path of a ref of hive. A folder in its place is damage; other folders may hold refs."""


def write_objects(git_dir: Path, objects: Iterable[GitObject]) -> None:
    """Store `objects` durably. Skip those that exist undamaged. Raise TransientError if the disk is full."""
    touched: dict[Path, None] = {}
    try:
        for item in objects:
            name = item.id
            folder = git_dir / "objects" / name[:2]
            path = folder / name[2:]
            if _is_whole(git_dir, name):
                continue
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                touched[folder.parent] = None
            write_durably(path, zlib.compress(item.raw(), 1))
            touched[folder] = None
        for folder in touched:
            sync_folder(folder)
    except OSError as error:
        raise disk_error(f"cannot write an object of {git_dir}", error) from error


def write_durably(path: Path, data: bytes, mode: int = 0o444) -> None:
    """Replace a file as a whole, and sync its content. Sync its folder afterwards. Raise OSError."""
    temporary = path.with_name(f"tmp_obj_{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _is_whole(git_dir: Path, name: Sha) -> bool:
    try:
        return read_loose(git_dir, name) is not None
    except Damaged:
        return False


def read_loose(git_dir: Path, name: Sha) -> GitObject | None:
    """Return the object if it is stored loose; None if only git can read it. Raise Damaged."""
    path = Path(f"{git_dir}/objects/{name[:2]}/{name[2:]}")
    try:
        stored = own_file.read(path, own_file.LARGE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        raw = zlib.decompress(stored)
    except zlib.error as error:
        raise Damaged(path, "it is empty" if not stored else "it is not a whole object of git") from error
    header, separator, data = raw.partition(b"\0")
    kind, _, size = header.decode("ascii", "replace").partition(" ")
    if not separator or size != str(len(data)):
        raise Damaged(path, "it is not a whole object of git")
    return GitObject(kind, data)


def unreadable(path: object, error: OSError) -> HiveError:
    """Return the error for a file that exists and cannot be read: Damaged, or TransientError without a descriptor."""
    if error.errno in NO_DESCRIPTOR:
        return disk_error(f"cannot read {path}", error)
    return Damaged(path, f"it cannot be read ({error.strerror})", "repair the disk or its permissions")


class PackedRefs:
    """The packed refs of one repo. The file is parsed again only if it changed: it may name thousands."""

    def __init__(self, git_dir: Path) -> None:
        self._path = Path(f"{git_dir}/packed-refs")
        self._known: tuple[tuple[int, ...] | None, dict[str, dict[str, Sha]]] = None, {}

    def folder(self, name: str) -> Mapping[str, Sha]:
        """Return the packed refs directly in a folder (like "refs/heads") by full name. Raise Damaged."""
        return self._read().get(name, {})

    def _read(self) -> dict[str, dict[str, Sha]]:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - at each look at each agent
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise unreadable(self._path, error) from error
        known = self._known  # one value, as threads read here as well
        mark = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        if mark == known[0]:
            return known[1]
        settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS
        folders: dict[str, dict[str, Sha]] = {}
        for ref, value in packed(self._path):
            folders.setdefault(ref.rpartition("/")[0], {})[ref] = value
        self._known = (mark if settled else None), folders
        return folders


def read_refs(git_dir: Path, folders: Sequence[str], packed: PackedRefs | None = None) -> dict[str, Sha]:
    """Return every ref directly in one of `folders` (like "refs/heads") by full name.

    Raise Damaged, or TransientError if there is no descriptor left. So do the other readers here.
    """
    loose: dict[str, Sha] = {}
    for folder in folders:
        for name in _names(f"{git_dir}/{folder}"):
            value = _read_ref(f"{git_dir}/{folder}/{name}")
            if value is not None:
                loose[f"{folder}/{name}"] = value
    # after the loose ones: `git pack-refs` writes this file before it removes them
    packed = packed or PackedRefs(git_dir)
    refs: dict[str, Sha] = {}
    for folder in folders:
        refs.update(packed.folder(folder))
    refs.update(loose)
    return refs


def read_ref(git_dir: Path, ref: str, packed: PackedRefs | None = None) -> Sha | None:
    """Return what one ref points at; None if it does not exist. Raise Damaged."""
    value = _read_ref(f"{git_dir}/{ref}")
    return value if value is not None else (packed or PackedRefs(git_dir)).folder(ref.rpartition("/")[0]).get(ref)


def _names(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise Damaged(folder, "it is not a folder", "move it away, and restart the daemon") from error
    except OSError as error:
        raise unreadable(folder, error) from error
    return [name for name in names if not name.endswith(".lock") and not name.startswith(".")]


def _read_ref(path: str) -> Sha | None:
    try:
        text = own_file.read(path).decode("ascii", "replace")
    except FileNotFoundError:
        return None
    except Damaged:
        is_folder_of_refs = Path(path).is_dir() and not OWN_REF.search(path)
        if is_folder_of_refs or not os.path.lexists(path):  # git removes a folder without refs
            return None
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    name = text.removesuffix("\n")
    if len(name) != 40 or not _HEX.issuperset(name):
        raise Damaged(path, "it names no object" if text.strip("\0 \n") else "it is empty")
    return Sha(name)


def packed(path: Path) -> Iterator[tuple[str, Sha]]:
    """Yield each ref of a file `packed-refs`. A file that is missing has none. Raise Damaged."""
    try:
        lines = own_file.read(path, own_file.LARGE).decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(path, error) from error
    if lines == [""]:
        raise Damaged(path, "it is empty")
    if lines.pop():
        raise Damaged(path, "its last line is cut short")
    for number, line in enumerate(lines, 1):
        value, _, ref = line.partition(" ")
        if len(value) == 40 and _HEX.issuperset(value) and ref.startswith("refs/"):
            yield ref, Sha(value)
        elif not line.startswith(("#", "^")):
            raise Damaged(path, f"line {number} is no ref")


def remove_stale_locks(git_dir: Path) -> list[Path]:
    """Remove every `*.lock` of one of hive's repos, and return them. Only for recovery, while no git runs there."""
    removed: list[Path] = []
    for folder, folders, names in os.walk(git_dir):
        if folder == f"{git_dir}/objects":
            folders[:] = [name for name in folders if name in ("info", "pack")]
        for name in names:
            if name.endswith(".lock"):
                path = Path(folder, name)
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed
