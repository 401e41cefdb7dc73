"""The files of objects in a push repo: what there is, which of them no ref reaches, and their removal.

Pushers write here, so each folder is opened by a descriptor that follows no symlink, and only names that git gives are
looked at. Nothing is parsed but the index of a pack, whose form has fixed places. A `.keep` that a push holds while it
moves its refs keeps its pack.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from meta.config import Config

PACKS_MOST = 4
"""A push repo that takes more than this many times HIVE_MAX_PACK_BYTES is reported."""
_MOST = 500_000
_MOST_INDEX = 64 * 2**20
_HEAD, _NAME = 8 + 256 * 4, 20
_LOOSE_FOLDER, _LOOSE = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{38}")
_PACK = re.compile(r"(pack-[0-9a-f]{40})\.(pack|idx|rev|bitmap|keep|mtimes|promisor)")
_INCOMING = re.compile(r"tmp_objdir-[\w-]+")
_REST = re.compile(r"\.?tmp[_-].*")
"""The name of a file that git writes first and then renames."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, order=True)
class ObjectFile:
    """A file below `objects`: its folder there, its name, the bytes that it takes and when it was written."""

    folder: str
    name: str
    size: int
    at: float


@dataclass(frozen=True, slots=True)
class Removed:
    """The number and the bytes of the files that were removed."""

    files: int = 0
    size: int = 0


def most_bytes(config: Config) -> int:
    """Return the size from which on a push repo is reported."""
    return PACKS_MOST * config.max_pack_bytes


def excess(repo: Path, size: int, config: Config) -> tuple[str, str] | None:
    """Return what to report about a push repo of this size and what to do about it; None if it is within its bound."""
    if size <= most_bytes(config):
        return None
    text = f"{repo} takes {size // 2**20} MiB, more than {PACKS_MOST} times HIVE_MAX_PACK_BYTES"
    return text, (
        f"delete branches and tags that are not needed (git push {repo} --delete BRANCH): hive removes what no ref "
        "reaches, two hours after its push"
    )


def read(repo: Path) -> tuple[ObjectFile, ...]:
    """Return the files below `objects`, sorted. OSError."""
    with contextlib.ExitStack() as stack:
        top = os.open(repo / "objects", _FOLDER)
        stack.callback(os.close, top)
        return tuple(sorted(each for each, _ in zip(_files(top), range(_MOST), strict=False)))


def _files(top: int) -> Iterator[ObjectFile]:
    for name in _names(top):
        if name == "pack" or _LOOSE_FOLDER.fullmatch(name):
            yield from _files_of(top, name)
        elif _INCOMING.fullmatch(name):
            yield from _incoming(top, name)
        elif _REST.fullmatch(name):
            yield from _file(top, "", name)


def _incoming(top: int, folder: str) -> Iterator[ObjectFile]:
    """Yield the files of a push that goes on or was cut short; its folder itself as a file without a name."""
    with contextlib.suppress(OSError):
        status = os.stat(folder, dir_fd=top, follow_symlinks=False)
        yield ObjectFile(folder, "", 0, status.st_mtime)
        with _open(top, folder) as descriptor:
            inner = [name for name in _names(descriptor) if name == "pack" or _LOOSE_FOLDER.fullmatch(name)]
        for name in inner:
            yield from _files_of(top, f"{folder}/{name}")


def _files_of(top: int, folder: str) -> Iterator[ObjectFile]:
    with contextlib.suppress(OSError), _open(top, folder) as descriptor:
        for name in _names(descriptor):
            yield from _file(descriptor, folder, name)


def _file(parent: int, folder: str, name: str) -> Iterator[ObjectFile]:
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield ObjectFile(folder, name, status.st_blocks * 512, status.st_mtime)


# which are dead
def old(files: Collection[ObjectFile], before: float) -> tuple[ObjectFile, ...]:
    """Return the files written before `before`. Files of one pack or of one push count as old together."""
    newest: dict[str, float] = defaultdict(float)
    for each in files:
        newest[_unit(each)] = max(newest[_unit(each)], each.at)
    return tuple(each for each in files if newest[_unit(each)] < before)


def _unit(file: ObjectFile) -> str:
    pack = _PACK.fullmatch(file.name) if file.folder == "pack" else None
    if pack:
        return pack[1]
    first = file.folder.partition("/")[0]
    return first if _INCOMING.fullmatch(first) else f"{file.folder}/{file.name}"


@dataclass(frozen=True, slots=True)
class Dead:
    """The files to remove, and the objects to keep of those that are packs: they go to a new pack first."""

    files: tuple[ObjectFile, ...]
    kept: frozenset[str]


def dead(repo: Path, files: Collection[ObjectFile], reached: Set[str]) -> Dead:
    """Return those of `files` that hold an object which is not in `reached`. A pack whose index is not read stays."""
    packs = {match[1] for each in files if each.folder == "pack" and (match := _PACK.fullmatch(each.name))}
    kept: set[str] = set()
    for pack in sorted(packs):
        try:
            ids = index_ids(repo / "objects/pack" / f"{pack}.idx")
        except (OSError, ValueError):
            packs.remove(pack)
            continue
        if ids <= reached:
            packs.remove(pack)
        else:
            kept |= ids & reached
    return Dead(tuple(each for each in files if _is_dead(each, packs, reached)), frozenset(kept))


def _is_dead(file: ObjectFile, packs: Set[str], reached: Set[str]) -> bool:
    if _INCOMING.fullmatch(file.folder.partition("/")[0]) or _REST.fullmatch(file.name):
        return True
    if file.folder == "pack":
        return _unit(file) in packs
    return _LOOSE.fullmatch(file.name) is not None and file.folder + file.name not in reached


def index_ids(path: Path) -> frozenset[str]:
    """Return the ids of the objects in the pack of this index. Its folder is hive's own. OSError, ValueError."""
    with os.fdopen(os.open(path, _FILE), "rb") as file:
        data = file.read(_MOST_INDEX)
    if data[:8] != b"\xfftOc\x00\x00\x00\x02" or len(data) < _HEAD:
        raise ValueError("the index is not of version 2")
    (count,) = struct.unpack_from(">I", data, _HEAD - 4)
    if len(data) < _HEAD + count * _NAME:
        raise ValueError("the index is cut off")
    return frozenset(data[at : at + _NAME].hex() for at in range(_HEAD, _HEAD + count * _NAME, _NAME))


# removal
def remove(repo: Path, files: Collection[ObjectFile]) -> Removed:
    """Remove the files that are still as they were read; of a pack the index first, so that git stops to see it.

    A file of another user that hive may not remove stays.
    """
    count = size = 0
    with _open(os.open(repo, _FOLDER), "objects", close=True) as top:
        for each in sorted(files, key=_order):
            if each.name and _remove(top, each):
                count, size = count + 1, size + each.size
        for folder in {each.folder for each in files}:
            _remove_folder(top, folder)
    return Removed(count, size)


def _order(file: ObjectFile) -> tuple[bool, str]:
    return not file.name.endswith(".idx"), file.name


def _remove(top: int, file: ObjectFile) -> bool:
    try:
        with _open(top, file.folder or ".") as folder:
            if os.stat(file.name, dir_fd=folder, follow_symlinks=False).st_mtime != file.at:
                return False  # a push has the same object again: git renews its time
            os.unlink(file.name, dir_fd=folder)
    except OSError:
        return False
    return True


def _remove_folder(top: int, folder: str) -> None:
    """Remove what is left of a push that was cut short, if it is empty."""
    first, _, inner = folder.partition("/")
    if not _INCOMING.fullmatch(first):
        return
    with contextlib.suppress(OSError):
        if inner:
            with _open(top, first) as descriptor:
                os.rmdir(inner, dir_fd=descriptor)
    with contextlib.suppress(OSError):
        os.rmdir(first, dir_fd=top)


@contextlib.contextmanager
def _open(parent: int, path: str, *, close: bool = False) -> Iterator[int]:
    """Open a folder below `parent`; none of the parts of its path may be a symlink."""
    descriptor = parent if close else os.dup(parent)
    try:
        for part in path.split("/"):
            above, descriptor = descriptor, os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(above)
        yield descriptor
    finally:
        os.close(descriptor)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]
