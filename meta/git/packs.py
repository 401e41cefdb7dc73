"""The packs of an applied repo that hive can remove again: one for each id, with every object that the id brought.

    objects/pack/pack-<id as 40 digits>.pack, .idx     the objects of one id
    objects/pack/tmp_staged-<hex>, ...-idx             written, but no id has it yet; git does not see it
    objects/pack/pack-<hash>.pack, .idx                the objects of many ended ids (`meta/applied/merged_packs.py`)

A pack of an id holds everything that its commit adds to the commit it was based on, also what another pack has. So one
pack is removed without a look at the others. Who reads a repo over a longer time notes that with `reading`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import threading
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta import own_file
from meta.errors import Conflict, Damaged
from meta.git.objects import GitObject
from meta.names import ProposalId
from meta.own_file import sync_folder
from meta.process.disk import disk_error

INDEX = ("-c", "pack.writeReverseIndex=false", "index-pack", "--stdin", "--fix-thin", "-o")
"""The command of git that writes a staged pack from its input. Its last arguments are the paths of index and pack."""

_PACK = re.compile(r"pack-([0-9]{40})\.pack")
_INDEX_2 = b"\377tOc\0\0\0\2"
_NAMES = 8 + 256 * 4
"""Where the sorted names begin in an index of version 2. The four bytes before them are their number."""
_KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_lock = threading.Lock()
_readers: Counter[Path] = Counter()
"""How many read each directory at this moment, under `_lock`."""


@dataclass(frozen=True, slots=True)
class StagedPack:
    """A pack on its way: git writes it, then `place` makes it the pack of an id, or `discard` removes it."""

    git_dir: Path
    token: str

    @classmethod
    def new(cls, git_dir: Path) -> StagedPack:
        """Return the place of a new pack. Nothing is written yet."""
        return cls(git_dir, secrets.token_hex(8))

    @property
    def pack(self) -> Path:
        """The file that git writes the pack to."""
        return _folder(self.git_dir) / f"tmp_staged-{self.token}"

    @property
    def index(self) -> Path:
        """The file that git writes the index of the pack to."""
        return _folder(self.git_dir) / f"tmp_staged-{self.token}-idx"

    def place(self, id: ProposalId) -> None:
        """Make it the pack of `id`, durably.

        Raise Conflict if the id has one, TransientError or PermanentError if the disk fails.
        """
        path = path_of(self.git_dir, id)
        if path.exists():
            raise Conflict(f"there are objects of a proposal {id} already", "take a new id")
        try:
            self.pack.rename(path)
            sync_folder(path.parent)
            self.index.rename(path.with_suffix(".idx"))  # from here on git sees the objects
            sync_folder(path.parent)
        except OSError as error:
            raise disk_error(f"cannot keep the objects of {id}", error) from error

    def discard(self) -> None:
        """Remove it, unless an id has it. What cannot be removed is left to the next start."""
        for path in (self.index, self.pack):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def path_of(git_dir: Path, id: ProposalId) -> Path:
    """Return the path of the pack of `id`."""
    return _folder(git_dir) / f"pack-{id:040d}.pack"


def ids(git_dir: Path) -> frozenset[ProposalId]:
    """Return the ids that have a pack, without a process."""
    try:
        names = os.listdir(_folder(git_dir))  # noqa: PTH208 - names, not paths
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    return frozenset(ProposalId(int(match[1])) for name in names if (match := _PACK.fullmatch(name)))


def merged(git_dir: Path) -> list[Path]:
    """Return the packs that are not of one id, sorted; those without an index, which git does not see, are left out."""
    paths = sorted(_folder(git_dir).glob("pack-*.pack"))
    return [path for path in paths if not _PACK.fullmatch(path.name) and path.with_suffix(".idx").exists()]


def holds(git_dir: Path, name: str) -> bool:
    """Return True if the object `name` is in one of the packs of a repo, by their indexes (gitformat-pack(5)).

    An index that cannot be read holds nothing.
    """
    wanted = bytes.fromhex(name)
    return any(_indexed(path, wanted) for path in _folder(git_dir).glob("*.idx"))


def _indexed(index: Path, wanted: bytes) -> bool:
    try:
        data = own_file.read(index, own_file.LARGE)
    except (OSError, Damaged):
        return False
    names = _NAMES + 20 * int.from_bytes(data[_NAMES - 4 : _NAMES], "big")
    if data[:8] != _INDEX_2 or len(data) < names:
        return False
    at = bisect_left(range((names - _NAMES) // 20), wanted, key=lambda n: data[_NAMES + 20 * n : _NAMES + 20 * n + 20])
    return data[_NAMES + 20 * at : _NAMES + 20 * at + 20] == wanted


def remove(git_dir: Path, id: ProposalId, shared: Sequence[Path] = ()) -> bool:
    """Remove the pack of `id`. Return False if `git_dir` or one of the directories `shared` is being read.

    Raise TransientError or PermanentError if the disk fails.
    """
    return remove_pack(git_dir, path_of(git_dir, id), shared)


def remove_pack(git_dir: Path, path: Path, shared: Sequence[Path] = ()) -> bool:
    """Remove the pack at `path`, in the same way."""
    try:
        with _lock:  # so that nobody begins to read in between
            if any(_readers[directory] for directory in (git_dir, *shared)):
                return False
            path.with_suffix(".idx").unlink(missing_ok=True)  # without it git does not see the pack
        for other in (*path.parent.glob(f"{path.stem}.*"), path):
            other.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(f"cannot remove {path.name}", error) from error
    return True


def remove_loose(git_dir: Path, names: Collection[str], shared: Sequence[Path] = ()) -> bool:
    """Remove the files of objects that a pack holds as well. Return False if one of the directories is being read.

    Raise TransientError or PermanentError if the disk fails.
    """
    try:
        for name in sorted(names):
            with _lock:  # so that nobody begins to read in between
                if any(_readers[directory] for directory in (git_dir, *shared)):
                    return False
                Path(f"{git_dir}/objects/{name[:2]}/{name[2:]}").unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(f"cannot remove objects of {git_dir}", error) from error
    return True


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Keep packs from being removed meanwhile. `directory` is a repo, or one of `shared` in `remove`.

    Only this process removes packs: it holds the lock of the state directory. A lock of a file would be in the reach of
    whoever may open it, such as the manager.
    """
    with _lock:
        _readers[directory] += 1
    try:
        yield
    finally:
        with _lock:
            _readers[directory] -= 1
            if not _readers[directory]:
                del _readers[directory]


def encode(objects: Sequence[GitObject]) -> bytes:
    """Return a pack of these objects."""
    parts = [b"PACK", (2).to_bytes(4, "big"), len(objects).to_bytes(4, "big")]
    for item in objects:
        parts += [_header(_KINDS[item.kind], len(item.data)), zlib.compress(item.data)]
    data = b"".join(parts)
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


def _header(kind: int, size: int) -> bytes:
    first, size = kind << 4 | size & 0xF, size >> 4
    header = bytearray()
    while size:
        header.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    header.append(first)
    return bytes(header)


def _folder(git_dir: Path) -> Path:
    return git_dir / "objects/pack"
