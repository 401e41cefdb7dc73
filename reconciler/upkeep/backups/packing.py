"""The tar of a backup: hive's own files, and files of agents. See archive.py.

Files of agents are not trusted: each is opened beneath the agent's directory only, without following a link. Links,
sockets, devices and files under a lease are left out.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import stat
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from typing_extensions import override

from meta.agent_toml.logins import is_login_file
from meta.config import Config
from meta.errors import Damaged, HiveError, PermanentError, TransientError
from meta.layout import Layout
from meta.names import AgentName, Sha, agent_name
from meta.own_file import sync_folder
from meta.process.disk import disk_error
from reconciler.upkeep.backups import archive
from reconciler.upkeep.backups.archive import Manifest, kind_of

_SPARSE = 16
"""A file is skipped if less than this fraction (one in 16) of it is stored."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOSED = (errno.EAGAIN, errno.ELOOP, errno.ENXIO)
"""Errors of an open that the owner causes: a lease on the file, or a link or a socket put in its place meanwhile."""
_SPOOL = 2**22
_LEVEL = 6
_DEEPEST = 100
_META = "meta/.git"
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@|(?<=token=)[^&\s]+")
Refs = dict[str, dict[str, Sha]]
"""The refs of each repo, by its git directory relative to the state directory."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Optional parts of a backup: proposed work trees; agents' /state and homes (credentials)."""

    proposed: bool = False
    agents: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """The settings of a backup, the process that they belong to ("daemon" or "command"), and the revision of hive."""

    config: Config
    settings_of: str
    hive: str


class _Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes."""


class Moved(TransientError):
    """A file was removed while it was read, because its agent was purged."""


def effective(config: Config) -> dict[str, str]:
    """Return the settings as HIVE_* variables.

    A login in a URL and the whole HIVE_NOTIFY are left out, because a backup has secrets only on request.
    """
    values = config.model_dump(exclude={"notify"})
    return {f"HIVE_{key.upper()}": _LOGIN.sub("", str(value)) for key, value in sorted(values.items())}


def agents_in(folder: Path) -> Iterator[AgentName]:
    """Return the agents that have a directory in `folder`. Other entries are not hive's."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        with contextlib.suppress(HiveError):
            if path.is_dir() and not path.is_symlink():
                yield agent_name(path.name)


class Packing:
    """One archive while it is written. Use it once."""

    def __init__(self, layout: Layout, wanted: Wanted, origin: Origin, stop: threading.Event) -> None:
        self._layout = layout
        self._wanted = wanted
        self._origin = origin
        self._stop = stop
        self._files: dict[str, tuple[str, int]] = {}
        self._skipped: list[str] = []
        self._at = int(time.time())

    def archive(self, scratch: Path, target: Path, database: Path, refs: Refs) -> Manifest:
        """Write the archive to `scratch`, durably, and rename it to `target`."""
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with self._tar(file, target.name.endswith("gz")) as tar:
                self._everything(tar, database, refs)
                manifest = self._manifest(refs)
                data = archive.encode(manifest)
                self._add(tar, archive.MANIFEST, io.BytesIO(data), len(data), 0o600)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(target)
        sync_folder(target.parent)
        return manifest

    @contextlib.contextmanager
    def _tar(self, file: IO[bytes], compressed: bool) -> Iterator[tarfile.TarFile]:
        if compressed:
            with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=_LEVEL) as tar:
                yield tar
        else:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                yield tar

    def _everything(self, tar: tarfile.TarFile, database: Path, refs: Refs) -> None:
        state = self._layout.state
        if database.stat().st_size:
            with database.open("rb") as source:
                self._add(tar, archive.DATABASE, source, database.stat().st_size, 0o600)
        if self._layout.owner.is_file():
            self._text(tar, archive.OWNER, self._layout.owner.read_bytes())
        for repo, of_repo in refs.items():
            for ref, sha in of_repo.items():
                self._text(tar, f"{repo}/{ref}", f"{sha}\n".encode())
            self._objects(tar, state / repo, repo)
        for folder, below, taken in (
            ("proposed", ("config",), self._wanted.proposed),
            ("agents", ("state", "home"), self._wanted.agents),
        ):
            for name in agents_in(state / folder) if taken else ():
                for part in below:
                    self._foreign(tar, state / folder / name, f"{folder}/{name}", part)

    def _manifest(self, refs: Refs) -> Manifest:
        mains = {repo.split("/")[1]: each.get("refs/heads/main", "") for repo, each in refs.items() if repo != _META}
        return Manifest(
            format=archive.FORMAT,
            hive=self._origin.hive,
            made_at=self._at,
            settings=effective(self._origin.config),
            settings_of=self._origin.settings_of,
            meta=refs[_META].get("refs/heads/main", ""),
            agents=mains,
            proposed=self._wanted.proposed,
            credentials=self._wanted.agents,
            skipped=tuple(self._skipped),
            files=self._files,
        )

    def _objects(self, tar: tarfile.TarFile, git_dir: Path, repo: str) -> None:
        """Add loose objects and packs. They never change once they have their name."""
        try:
            folders = sorted(path for path in (git_dir / "objects").iterdir() if path.is_dir())
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    name = f"{repo}/objects/{folder.name}/{path.name}"
                    if kind_of(name) is not None:
                        if not stat.S_ISREG(path.lstat().st_mode):  # to open a pipe would wait
                            raise Damaged(path, "it is not a file")
                        with path.open("rb") as source:
                            self._add(tar, name, source, os.fstat(source.fileno()).st_size, 0o444)
        except FileNotFoundError as error:
            raise Moved(f"{git_dir} was removed while it was read", "try again") from error

    def _text(self, tar: tarfile.TarFile, name: str, data: bytes) -> None:
        if kind_of(name) is None:
            self._skipped.append(name)
        else:
            self._add(tar, name, io.BytesIO(data), len(data), 0o644)

    def _add(
        self,
        tar: tarfile.TarFile,
        name: str,
        source: _Readable,
        size: int,
        mode: int,
        like: os.stat_result | None = None,
    ) -> None:
        if self._stop.is_set():
            raise TransientError("the backup was cancelled by its caller", "try again")
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, mode, self._at
        if like is not None:
            info.uid, info.gid, info.mtime = like.st_uid, like.st_gid, int(like.st_mtime)
        hashing = _Hashing(source)
        tar.addfile(info, hashing)
        if name != archive.MANIFEST:
            self._files[name] = (hashing.hash.hexdigest(), size)

    # files of agents
    def _foreign(self, tar: tarfile.TarFile, parent: Path, name: str, part: str) -> None:
        try:  # without root the manager can replace `parent`, too, by a symlink at any moment
            above = os.open(parent, _FOLDER)
            try:
                descriptor = os.open(part, _FOLDER, dir_fd=above)
            finally:
                os.close(above)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _unreadable(parent / part, error) from error
        try:
            self._directory(tar, descriptor, f"{name}/{part}", 0)
        finally:
            os.close(descriptor)

    def _directory(self, tar: tarfile.TarFile, descriptor: int, name: str, depth: int) -> None:
        info = tarfile.TarInfo(name)
        status = os.fstat(descriptor)
        info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, status.st_mode & 0o777, status.st_uid, status.st_gid
        tar.addfile(info)
        for entry in sorted(os.listdir(descriptor)):
            path = f"{name}/{entry}"
            if depth >= _DEEPEST or not _is_text(entry):
                self._skipped.append(ascii(path))
                continue
            try:
                self._entry(tar, descriptor, entry, path, depth)
            except FileNotFoundError:
                continue  # the agent removed the file meanwhile
            except PermissionError as error:
                raise _unreadable(Path(path), error) from error

    def _entry(self, tar: tarfile.TarFile, parent: int, entry: str, path: str, depth: int) -> None:
        mode = os.stat(entry, dir_fd=parent, follow_symlinks=False).st_mode
        if _is_login(path):
            self._skipped.append(path)
            return
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            self._skipped.append(path)
            return
        try:
            descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        except OSError as error:
            if error.errno not in _CLOSED:
                raise
            self._skipped.append(path)
            return
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                self._directory(tar, descriptor, path, depth + 1)
            elif stat.S_ISREG(status.st_mode):
                self._live(tar, descriptor, path, status)
            else:
                self._skipped.append(path)
        finally:
            os.close(descriptor)

    def _live(self, tar: tarfile.TarFile, descriptor: int, path: str, status: os.stat_result) -> None:
        """Add a file that may grow or shrink meanwhile: copy it first, then write the copy."""
        with tempfile.SpooledTemporaryFile(_SPOOL) as copy, open(descriptor, "rb", closefd=False) as source:
            left = status.st_size
            if status.st_blocks * 512 < left // _SPARSE:  # mostly holes: an agent could fill this disk with it
                self._skipped.append(path)
                return
            while left and not self._stop.is_set() and (block := source.read(min(left, 2**20))):
                copy.write(block)
                left -= len(block)
            size = copy.tell()
            copy.seek(0)
            self._add(tar, path, copy, size, status.st_mode & 0o777, status)


class _Hashing(io.RawIOBase):
    """A source that hashes the bytes that are read from it."""

    def __init__(self, source: _Readable) -> None:
        self._source = source
        self.hash = hashlib.sha256()

    @override
    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.hash.update(data)
        return data


def _is_login(path: str) -> bool:
    """Return True for the login of a coding agent. A copy of it would end the original at its next refresh."""
    top, _, rest = path.partition("/")
    _agent, _, inside = rest.partition("/")
    return top == "agents" and is_login_file(inside.removeprefix("home/"))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(path: Path, error: OSError) -> HiveError:
    if isinstance(error, PermissionError):
        return PermanentError(
            f"hive's user may not read {path}", "make the backup without --agents, or as root while no daemon runs"
        )
    return disk_error(f"cannot read {path}", error)
