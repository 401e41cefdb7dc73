"""The extraction of a backup into an empty directory. Names, kinds and hashes of all files are checked."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from meta.errors import BadInput, NotFound
from meta.git.config import CONFIG
from reconciler.upkeep.backups import archive
from reconciler.upkeep.backups.archive import Kind, Manifest, kind_of

_MODES = {Kind.REF: 0o644, Kind.OBJECT: 0o444, Kind.DATABASE: 0o600, Kind.OWNER: 0o644}
_FOLDER_MODE = 0o755
_RANGES = 65_536
"""The first uid of agents. A file with such an owner keeps it; any other file gets the owner of the state."""
_HIGHEST_UID = 2**32 - 1
"""The highest uid. The kernel takes it as "do not change the owner"."""
_BLOCK = 2**20
_SHA = re.compile(rb"[0-9a-f]{40}\n")
_OWNER = re.compile(rb"[0-9a-f]{32}\s*")


HEADER_LIMIT = 64 * 1024
"""Bytes of an extended header, at most. hive's own contain only a path."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of hive's files."""

    uid: int
    gid: int


class _Bounded(tarfile.TarInfo):
    """A member with short extended headers. tarfile reads them whole before they can be checked."""

    def _bounded(self) -> None:
        if self.size > HEADER_LIMIT:
            raise tarfile.ReadError("an extended header is too long")

    def _proc_pax(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        self._bounded()
        return cast("tarfile.TarInfo", super()._proc_pax(tar))  # type: ignore[misc]

    def _proc_gnulong(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        self._bounded()
        return cast("tarfile.TarInfo", super()._proc_gnulong(tar))  # type: ignore[misc]


def extract(source: Path, target: Path, owner: Owner) -> Manifest:
    """Unpack the backup `source` into the empty directory `target`. Raise BadInput if it is not a sound backup."""
    extraction = _Extraction(target, owner)
    try:
        with tarfile.open(source, "r|*", tarinfo=_Bounded) as tar:
            for member in tar:
                extraction.take(tar, member)
    except FileNotFoundError as error:
        if error.filename != str(source):
            raise
        raise NotFound(f"there is no file {source}") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BadInput(f"{source} is not a sound backup: {error}", "check that it was copied completely") from error
    return extraction.finish(source)


def manifest_of(source: Path) -> Manifest:
    """Return the manifest of a backup without checking its files. Raise BadInput if there is none."""
    try:
        with tarfile.open(source, "r|*", tarinfo=_Bounded) as tar:
            for member in tar:
                if member.name == archive.MANIFEST and member.isreg() and member.size <= archive.MANIFEST_LIMIT:
                    return archive.decode(_content(tar, member).read())
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BadInput(f"{source} is not a sound backup: {error}", "check that it was copied completely") from error
    raise BadInput(f"{source} has no manifest: it was cut off, or is not a backup of hive")


@dataclass(slots=True)
class _Extraction:
    target: Path
    owner: Owner
    seen: dict[str, tuple[str, int]] = field(default_factory=dict)
    directories: list[tuple[Path, int, Owner]] = field(default_factory=list)
    manifest: Manifest | None = None

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Extract the next member of the tar."""
        name = member.name
        if self.manifest is not None:
            raise BadInput(f"the backup has a file after its manifest: {name[:100]!r}")
        if name == archive.MANIFEST and member.isreg() and member.size <= archive.MANIFEST_LIMIT:
            self.manifest = archive.decode(_content(tar, member).read())
            return
        kind = kind_of(name)
        plain = member.isreg() and not member.issparse()
        if kind is None or not (plain or (member.isdir() and kind is Kind.FOREIGN)):
            what = "a link" if member.issym() or member.islnk() else "a file"
            raise BadInput(f"the backup has {what} that no backup has: {name[:100]!r}", "it was not made by hive")
        try:
            self._place(tar, member, kind)
        except (FileExistsError, NotADirectoryError) as error:
            raise BadInput(f"the backup has {name[:100]!r} twice, or as a file and a directory") from error

    def _place(self, tar: tarfile.TarFile, member: tarfile.TarInfo, kind: Kind) -> None:
        path = self.target / member.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if member.isdir():
            path.mkdir(mode=0o700)
            self.directories.append((path, member.mode & 0o777, self._owner(member, kind)))
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            hashing, size = hashlib.sha256(), 0
            for block in _blocks(_content(tar, member)):
                file.write(block)
                hashing.update(block)
                size += len(block)
            os.fchmod(descriptor, member.mode & 0o777 if kind is Kind.FOREIGN else _MODES[kind])
            if os.geteuid() == 0:
                owner = self._owner(member, kind)
                os.fchown(descriptor, owner.uid, owner.gid)
        self.seen[member.name] = (hashing.hexdigest(), size)
        if kind in (Kind.REF, Kind.OWNER) and not (_SHA if kind is Kind.REF else _OWNER).fullmatch(path.read_bytes()):
            raise BadInput(f"{member.name} of the backup is not a valid {kind.value}", "it was not made by hive")

    def _owner(self, member: tarfile.TarInfo, kind: Kind) -> Owner:
        theirs = kind is Kind.FOREIGN and all(_RANGES <= id < _HIGHEST_UID for id in (member.uid, member.gid))
        return Owner(member.uid, member.gid) if theirs else self.owner

    def finish(self, source: Path) -> Manifest:
        """Compare all files with the manifest, complete the repos, and set modes and owners of directories."""
        if self.manifest is None:
            raise BadInput(f"{source} has no manifest: it was cut off, or is not a backup of hive")
        wanted = {name: (sha, size) for name, (sha, size) in self.manifest.files.items()}
        if wanted != self.seen:
            wrong = sorted(name for name in wanted.keys() | self.seen.keys() if wanted.get(name) != self.seen.get(name))
            raise BadInput(
                f"{len(wrong)} files of the backup do not match its manifest: {wrong[0]}", "take another backup"
            )
        main = self.target / "meta" / ".git" / "refs" / "heads" / "main"
        if not main.is_file() or main.read_text(encoding="ascii").strip() != self.manifest.meta:
            raise BadInput("the backup has no meta repo, or not the one of its manifest", "take another backup")
        for git_dir in (self.target / "meta" / ".git", *self.target.glob("applied/*/.git")):
            _complete(git_dir)
        self._set_modes()
        return self.manifest

    def _set_modes(self) -> None:
        """Set modes and owners of directories. This comes last, because some are not writable afterwards."""
        theirs = {path: (mode, owner) for path, mode, owner in self.directories}
        root = os.geteuid() == 0
        for folder, _, files in os.walk(self.target, topdown=False):
            path = Path(folder)
            if path == self.target:
                continue
            mode, owner = theirs.get(path, (_FOLDER_MODE, self.owner))
            if root:
                os.chown(path, owner.uid, owner.gid)
                for name in ("HEAD", "config"):
                    if name in files and path.name == ".git" and path not in theirs:
                        os.chown(path / name, owner.uid, owner.gid)
            path.chmod(mode)


def _complete(git_dir: Path) -> None:
    """Add the parts of hive's repo besides refs and objects."""
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (git_dir / folder).mkdir(parents=True, exist_ok=True)
    (git_dir / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")
    (git_dir / "config").write_text(CONFIG, encoding="utf-8")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise BadInput(f"the backup has no content for {member.name[:100]!r}")
    return content


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block
