"""A repo's files, read and written without a process: loose objects, refs, lock files.

Only for repos that hive itself owns. An object is written as git with `core.fsync=all` writes it: first its content,
synced to the disk, then its name. Refs are only read here; git moves them (`meta/git/repo.py`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from meta.git.objects import GitObject
from meta.names import Sha
from meta.process.disk import disk_error

_HEX = frozenset("0123456789abcdef")


def write_objects(git_dir: Path, objects: Iterable[GitObject]) -> None:
    """Store `objects` durably; skip those that exist. Raise TransientError if the disk is full."""
    touched: dict[Path, None] = {}
    try:
        for item in objects:
            name = item.id
            folder = git_dir / "objects" / name[:2]
            path = folder / name[2:]
            if path.exists():
                continue
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                touched[folder.parent] = None
            _write_durably(path, zlib.compress(item.raw(), 1))
            touched[folder] = None
        for folder in touched:
            _sync_folder(folder)
    except OSError as error:
        raise disk_error(f"cannot write an object of {git_dir}", error) from error


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"tmp_obj_{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444)
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_loose(git_dir: Path, name: Sha) -> GitObject | None:
    """Return the object if it is stored loose and undamaged; None if only git can read it."""
    try:
        raw = zlib.decompress(Path(f"{git_dir}/objects/{name[:2]}/{name[2:]}").read_bytes())
    except (OSError, zlib.error):
        return None
    header, separator, data = raw.partition(b"\0")
    kind, _, size = header.decode("ascii", "replace").partition(" ")
    if not separator or size != str(len(data)):
        return None
    return GitObject(kind, data)


def read_refs(git_dir: Path, folders: Sequence[str]) -> dict[str, Sha]:
    """Return every ref directly in one of `folders` (like "refs/heads") by full name, without symbolic refs."""
    refs: dict[str, Sha] = {}
    for folder in folders:
        for name in _names(f"{git_dir}/{folder}"):
            value = _read_ref(f"{git_dir}/{folder}/{name}")
            if value is not None:
                refs[f"{folder}/{name}"] = value
    # after the loose ones: `git pack-refs` writes this file before it removes them
    for ref, value in _packed(git_dir):
        if ref not in refs and ref.rpartition("/")[0] in folders:
            refs[ref] = value
    return refs


def read_ref(git_dir: Path, ref: str) -> Sha | None:
    """Return what one ref points at; None if it does not exist."""
    value = _read_ref(f"{git_dir}/{ref}")
    return value if value is not None else dict(_packed(git_dir)).get(ref)


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.endswith(".lock")]  # noqa: PTH208 - names, not paths
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_ref(path: str) -> Sha | None:
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")[:64].strip()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return Sha(text) if len(text) == 40 and _HEX.issuperset(text) else None


def _packed(git_dir: Path) -> Iterator[tuple[str, Sha]]:
    try:
        lines = Path(f"{git_dir}/packed-refs").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        value, _, ref = line.partition(" ")
        if len(value) == 40 and _HEX.issuperset(value):
            yield ref, Sha(value)


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
