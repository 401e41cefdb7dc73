"""The files of a generation of builder `plain`, and whether they are still those that were built.

A generation's id is a hash of its files and of the facts in its generation.json. So a damaged one shows without the
commit that it was built from.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from meta.git.repo import FILES_LIMIT, FileAt
from meta.names import GenerationId

LINK = 0o120000
EXECUTABLE = 0o100755
REGULAR = 0o100644
_RECORD_LIMIT = 2**20


@dataclass(frozen=True, slots=True)
class _Record:
    id: str
    sha: str
    fingerprint: str
    revision: str
    runtime: str


_RECORD = TypeAdapter(_Record)


def generation_id(sha: str, content: str, fingerprint: str, revision: str) -> GenerationId:
    """Return the id of a generation. `content` is the `content_hash` of its files."""
    text = "\n".join((sha, content, fingerprint, revision))
    return GenerationId(hashlib.sha256(text.encode()).hexdigest()[:20])


def content_hash(files: Mapping[str, FileAt]) -> str:
    """Return a hash of all paths, modes and contents."""
    digest = hashlib.sha256()
    for path, file in sorted(files.items()):
        digest.update(_encode(path, file))
    return digest.hexdigest()


def whole_content(directory: Path) -> str | None:
    """Return the `content_hash` of a generation's files; None if they are not those that it was built with.

    This reads every file. Follow no symlink, wait for no FIFO, and read at most FILES_LIMIT.
    """
    try:
        record = _RECORD.validate_json(read_record(directory) or b"")
        content = read_content(directory / "tree")
    except (OSError, ValidationError):
        return None
    if content is None or directory.name != record.id:
        return None
    id = generation_id(record.sha, content, record.fingerprint, record.revision)
    return content if id == record.id else None


def read_record(directory: Path) -> bytes | None:
    """Return generation.json; None if it is no regular file, or too large. Raise OSError."""
    file = _read_file(directory / "generation.json", _RECORD_LIMIT)
    return file.data if file is not None and file.mode != LINK else None


def read_content(tree: Path) -> str | None:
    """Return the `content_hash` of the files in a directory; None if no commit can have them. Raise OSError."""
    if not stat.S_ISDIR(tree.lstat().st_mode):
        return None
    digest, left = hashlib.sha256(), FILES_LIMIT
    for path in sorted(_paths(tree)):
        file = _read_file(tree / path, left)
        if file is None:
            return None
        left -= len(file.data)
        digest.update(_encode(path, file))
    return digest.hexdigest()


def _encode(path: str, file: FileAt) -> bytes:
    parts = (os.fsencode(path), oct(file.mode).encode(), file.data)
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _paths(tree: Path) -> Iterator[str]:
    """Return the path of everything below `tree` but directories, relative to it. Raise OSError."""
    for folder, folders, names in os.walk(tree, onerror=_raise):
        for name in (*names, *(each for each in folders if (Path(folder) / each).is_symlink())):
            yield os.path.relpath(os.path.join(folder, name), tree)  # noqa: PTH118 - names are bytes-faithful strings


def _raise(error: OSError) -> None:
    raise error


def _read_file(path: Path, limit: int) -> FileAt | None:
    """Return a regular file or a symlink as git has it; None if it is neither, or has more than `limit` bytes."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return FileAt(LINK, os.readlink(os.fsencode(path)))  # noqa: PTH115 - the target is bytes
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        return None
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        return FileAt(EXECUTABLE if status.st_mode & 0o100 else REGULAR, file.read(limit))
