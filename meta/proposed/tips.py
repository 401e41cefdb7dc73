"""The tips of the branches of a repo that hive does not trust, read without git.

Only `refs/heads` and `packed-refs` are read, through descriptors that follow no symlink: the owner of the repo can put
links, fifos or a million files there at any moment. A tip only names a commit; the commit itself comes through
`meta.proposed.quarantine.fetch`. A branch's name is only recorded and shown: it
becomes part of no path and of no command that hive runs.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from meta.names import Sha
from meta.process.disk import raise_if_no_descriptor
from meta.text import one_line, scrub

MOST_ENTRIES = 10_000
"""Refs and folders that are read in one repo. What was decided or is deployed counts, too: it costs one `lstat`."""
MOST_FOLDERS = 64
"""Folders of refs in one repo that are offered for watching."""
MOST_DEPTH = 8
PACKED_LIMIT = 2**20
NAME_LIMIT = 200
"""Bytes of a branch's name."""
SETTLED_NS = 50_000_000
"""Nanoseconds after which the next change is sure to get another change time."""

_HEADS = "refs/heads"
_HEX = frozenset("0123456789abcdef")
_FORBIDDEN = frozenset(" ~^:?*[\\\t\n")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Mark = tuple[int, int, int]
"""Inode, change time (ns) and size: they differ after each change of a file or folder."""


@dataclass(frozen=True, slots=True)
class Tip:
    """A branch and its commit. `uid` owns the ref's file, so it wrote the ref last; None for a packed ref.

    `at` is when the ref was written last, or the packed refs together. A push that changes nothing is the same tip.
    """

    branch: str
    sha: Sha
    uid: int | None = None
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tips of one repo at one moment, by branch.

    `marks`, by path, stay equal as long as nothing changes. `folders` are the folders to watch. `complaint` is the
    reason why some branches could not be read. `settled` is False if the next change might leave the marks equal.
    """

    tips: Mapping[str, Tip] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    complaint: str | None = None
    settled: bool = True

    def same(self, other: Snapshot) -> bool:
        """Return True if nothing changed from one snapshot to the other."""
        return self.marks == other.marks and self.complaint == other.complaint and self.settled


def read_tips(top: Path, git_directory: str, before: Snapshot | None = None) -> Snapshot:
    """Read the branches of `git_directory` (like "alice/config/.git") below `top`, a directory of hive's own.

    Files that did not change since `before` are not read again. If a repo cannot be read, the snapshot has a complaint;
    no OSError is raised. Raise TransientError if there is no descriptor left: no branch counts as gone then.
    """
    reader = _Reader(before or Snapshot(), top / git_directory)
    with ExitStack() as stack:
        try:
            descriptor = _descend(stack, top, git_directory)
        except OSError as error:
            raise_if_no_descriptor(f"cannot read the branches of {top / git_directory}", error)
            return Snapshot(complaint=_complaint(top / git_directory, error))
        reader.read(stack, descriptor)
    return reader.snapshot()


class _Reader:
    """A reader of one git directory, for one snapshot."""

    def __init__(self, before: Snapshot, path: Path) -> None:
        self._before = before
        self._path = path
        self._now = time.time_ns()
        self._tips: dict[str, Tip] = {}
        self._marks: dict[str, Mark] = {}
        self._folders: list[Path] = []
        self._odd = 0
        self._entries = 0
        self._settled = True
        self._complaint: str | None = None

    def snapshot(self) -> Snapshot:
        """Return what was read."""
        complaint = self._complaint
        if complaint is None and self._entries > MOST_ENTRIES:
            complaint = f"{self._path} has more than {MOST_ENTRIES} branches: hive reads only some of them"
        if complaint is None and self._odd:
            complaint = f"{self._path}: {self._odd} entries of {_HEADS} are not branches and are skipped"
        return Snapshot(self._tips, self._marks, tuple(self._folders[:MOST_FOLDERS]), complaint, self._settled)

    def read(self, stack: ExitStack, descriptor: int) -> None:
        """Read all branches of the git directory that `descriptor` has open."""
        self._folder(descriptor, "", mark=False)  # its change time moves with every `git status`
        if _exists(descriptor, "reftable"):
            self._complaint = f"{self._path} keeps its refs in a reftable, which hive does not read; use `hive propose`"
            return
        heads, name = descriptor, ""
        for part in _HEADS.split("/"):
            name = f"{name}/{part}".lstrip("/")
            try:
                heads = os.open(part, _FOLDER, dir_fd=heads)
            except OSError as error:
                self._raise_if_no_descriptor(error)
                self._complaint = _complaint(self._path / name, error)
                return
            stack.callback(os.close, heads)
            self._folder(heads, name)
        try:  # loose refs first: `git pack-refs` writes the packed ones, then removes the loose ones
            self._walk(heads, "", 0)
        except OSError as error:
            self._raise_if_no_descriptor(error)
            raise
        self._packed(descriptor)

    def _raise_if_no_descriptor(self, error: OSError) -> None:
        raise_if_no_descriptor(f"cannot read the branches of {self._path}", error)

    def _folder(self, descriptor: int, name: str, mark: bool = True) -> None:
        status = os.fstat(descriptor)
        self._folders.append(self._path / name)
        self._marks[f"{name}/"] = _mark(status) if mark else (status.st_ino, 0, 0)

    def _walk(self, folder: int, prefix: str, depth: int) -> None:
        for name in _names(folder, MOST_ENTRIES):
            self._entries += 1
            if self._entries > MOST_ENTRIES:
                return
            if name.endswith(".lock"):
                continue
            branch = f"{prefix}{name}"
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and depth < MOST_DEPTH:
                    self._below(folder, name, branch, depth)
                elif stat.S_ISREG(status.st_mode) and is_branch(branch):
                    self._ref(folder, name, branch, status)
                else:
                    self._odd += 1
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed meanwhile
            except OSError as error:
                self._raise_if_no_descriptor(error)
                self._odd += 1

    def _below(self, folder: int, name: str, branch: str, depth: int) -> None:
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            if is_branch(branch):
                self._folder(inner, f"{_HEADS}/{branch}")
            self._walk(inner, f"{branch}/", depth + 1)
        finally:
            os.close(inner)

    def _ref(self, folder: int, name: str, branch: str, status: os.stat_result) -> None:
        mark = self._marks[branch] = _mark(status)
        known = self._before.tips.get(branch)
        old = self._before.marks.get(branch) == mark and self._is_settled(status)
        if old and known is not None and known.uid is not None:
            self._tips[branch] = known
            return
        if old and known is None:
            return  # read already, and no commit id
        text = _read(folder, name, 64)
        sha = text.strip() if text is not None else ""
        if len(sha) == 40 and _HEX.issuperset(sha):
            self._tips[branch] = Tip(branch, Sha(sha), status.st_uid, status.st_mtime)

    def _packed(self, descriptor: int) -> None:
        try:
            status = os.stat("packed-refs", dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            return
        self._marks["/packed-refs"] = _mark(status)
        self._is_settled(status)
        if not stat.S_ISREG(status.st_mode):
            self._complaint = f"{self._path}/packed-refs is not a file: hive does not read it"
            return
        try:
            text = _read(descriptor, "packed-refs", PACKED_LIMIT)
        except OSError as error:  # its owner made it unreadable, or replaced it meanwhile
            self._raise_if_no_descriptor(error)
            self._complaint = f"{self._path}/packed-refs cannot be read ({error.strerror}): its branches are not read"
            return
        if text is None:
            self._complaint = f"{self._path}/packed-refs is too long: its branches are not read"
            return
        for line in text.split("\n"):
            sha, _, ref = line.partition(" ")
            branch = ref.removeprefix(f"{_HEADS}/")
            if branch == ref or branch in self._tips or len(sha) != 40 or not _HEX.issuperset(sha):
                continue
            self._entries += 1
            if self._entries > MOST_ENTRIES:
                return
            if is_branch(branch):
                self._tips[branch] = Tip(branch, Sha(sha), at=status.st_mtime)

    def _is_settled(self, status: os.stat_result) -> bool:
        settled = self._now - status.st_ctime_ns > SETTLED_NS
        self._settled = self._settled and settled
        return settled


def is_branch(name: str) -> bool:
    """Return True if git accepts `name` as a branch, and it holds only characters that can be shown."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False  # not UTF-8 on the disk
    if not 0 < size <= NAME_LIMIT or scrub(name) != name or _FORBIDDEN & set(name) or ".." in name or "@{" in name:
        return False
    return all(part and part[0] != "." and part[-1] != "." and not part.endswith(".lock") for part in name.split("/"))


def _descend(stack: ExitStack, top: Path, git_directory: str) -> int:
    descriptor = os.open(top, _FOLDER)
    stack.callback(os.close, descriptor)
    for part in git_directory.split("/"):
        descriptor = os.open(part, _FOLDER, dir_fd=descriptor)
        stack.callback(os.close, descriptor)
    return descriptor


def _names(folder: int, most: int) -> Iterator[str]:
    """Yield at most `most` + 1 names. A folder with a million files must not delay the other agents."""
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number > most:
                return
            yield entry.name


def _read(folder: int, name: str, limit: int) -> str | None:
    """Return the text of a regular file.

    Return None if it is something else, or longer than `limit`. git takes names of any bytes: they are escaped.
    """
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        data = os.read(descriptor, limit + 1)
        return data.decode(errors="surrogateescape") if len(data) <= limit else None
    finally:
        os.close(descriptor)


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _mark(status: os.stat_result) -> Mark:
    return status.st_ino, status.st_ctime_ns, status.st_size


def _complaint(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"{path} is not there"
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return f"{path} is not a directory, or reached through a symlink: hive reads nothing there"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: hive has no permission to read it"
    return one_line(f"{path}: {error.strerror}", 300)
