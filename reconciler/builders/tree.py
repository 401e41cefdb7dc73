"""A commit's files as an immutable directory: written beside its final name, synced, made read-only, renamed.

No file is ever written through a symlink. Regular files are written first, no path may lie below another one, and only
hive can write the directories.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from meta.errors import BuildFailed
from meta.git.repo import FileAt
from meta.own_file import sync_folder
from meta.process.failpoint import operation
from reconciler.common.generation import EXECUTABLE, LINK, content_hash, read_content, read_record

_RETIRED = ".old-"
_FRESH = ".new-"


def check_paths(files: Mapping[str, FileAt]) -> None:
    """Raise BuildFailed for a path that leaves the tree or lies below a file. Quarantine refuses such paths too."""
    last = ""
    for path in sorted(files, key=lambda path: f"{path}/"):
        parts = path.split("/")
        if not path or any(part in ("", ".", "..", ".git") for part in parts) or "\0" in path:
            raise BuildFailed(f"the commit has the path {path!r}, which leaves its tree", "remove it from the commit")
        if last and path.startswith(last):  # in this order the first path below a file follows it
            raise BuildFailed(f"the commit has {path!r} below a file", "the commit is damaged: make a new one")
        last = f"{path}/"


def place(directory: Path, files: Mapping[str, FileAt], record: bytes) -> None:
    """Make `directory` with the files in `tree/` and `record` in generation.json. A complete directory stays as it is.

    Anything else of that name is removed. Raise OSError if the disk fails.
    """
    if intact(directory, files, record):
        return
    directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    clean(directory.parent)
    fresh = directory.with_name(f"{_FRESH}{directory.name}-{secrets.token_hex(4)}")
    _write(fresh, files, record)
    operation("written")
    if os.path.lexists(directory):
        retire(directory)
    fresh.rename(directory)
    sync_folder(directory.parent)
    operation("placed")


def intact(directory: Path, files: Mapping[str, FileAt], record: bytes) -> bool:
    """Return True if the directory holds exactly these files and this record."""
    try:
        return read_record(directory) == record and read_content(directory / "tree") == content_hash(files)
    except OSError:
        return False


def _write(fresh: Path, files: Mapping[str, FileAt], record: bytes) -> None:
    tree = fresh / "tree"
    tree.mkdir(mode=0o755, parents=True)
    links = {path: file for path, file in files.items() if file.mode == LINK}
    for path, file in files.items():
        if path not in links:
            _write_file(tree / path, file.data, 0o555 if file.mode == EXECUTABLE else 0o444)
    for path, file in links.items():
        (tree / path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.symlink(file.data, os.fsencode(tree / path))  # noqa: PTH211 - the target is bytes
    _write_file(fresh / "generation.json", record, 0o444)
    for folder, _, _ in os.walk(fresh, topdown=False):
        Path(folder).chmod(0o555)
        sync_folder(Path(folder))


def _write_file(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(fd, mode)
        os.fsync(fd)


def retire(directory: Path) -> None:
    """Remove a generation. Rename it first, so that a partly removed one never counts."""
    retired = directory.with_name(f"{_RETIRED}{directory.name}-{secrets.token_hex(4)}")
    directory.rename(retired)
    _remove(retired)


def clean(folder: Path) -> None:
    """Remove what a killed build or prune left in `folder`.

    Only one build or prune runs at a time for an agent.
    """
    for path in list(folder.iterdir()):
        if path.name.startswith((_FRESH, _RETIRED)):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    for folder, _, _ in os.walk(path):
        Path(folder).chmod(0o755)
    shutil.rmtree(path)
