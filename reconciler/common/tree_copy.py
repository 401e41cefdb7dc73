"""Copy a file or a folder between a place that a hostile process writes to and one that it does not, either way.

Everything is opened below one descriptor, one name after the other, and no symlink is followed: what is swapped
meanwhile leads nowhere. Only regular files and folders are copied, without set-user-id bits, within bounds. The copy
appears under its name when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from meta.errors import BadInput, Conflict, NotFound, PermanentError, Refused
from meta.process.disk import disk_error
from meta.text import size

DEEPEST = 64
"""Folders within folders. Each is an open descriptor."""
LEFT_OUT_MOST = 100
"""Names of things that were left out."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 2**20
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one copy may have."""

    bytes: int
    entries: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in an open folder. `shown` is its path for messages."""

    folder: int
    name: str
    shown: str


@dataclass(slots=True)
class Report:
    """What was copied. `left_out` names what is neither a regular file nor a folder, or not the source's owner's."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    left_out: list[str] = field(default_factory=list)


@contextlib.contextmanager
def opened(top: int, parts: Sequence[str], shown: str) -> Iterator[int]:
    """Open the folder `parts` below the descriptor `top`, name by name. Yield its descriptor.

    Raise NotFound; Refused for a symlink, BadInput for another thing on the way and for `..`.
    """
    descriptor = os.dup(top)
    try:
        for part in parts:
            inner = _open_folder(Entry(descriptor, part, shown))
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def is_folder(top: int, parts: Sequence[str], shown: str) -> bool:
    """Return True if `parts` below the descriptor `top` is a folder. Raise errors as `opened` does for those before it.

    A symlink is no folder.
    """
    *way, name = parts
    with opened(top, way, shown) as descriptor:
        _check_name(Entry(descriptor, name, shown))
        try:
            return stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False


def _open_folder(entry: Entry) -> int:
    _check_name(entry)
    try:
        return os.open(entry.name, _FOLDER, dir_fd=entry.folder)
    except FileNotFoundError as error:
        raise NotFound(f"there is no {entry.shown}", "its folders must exist") from error
    except NotADirectoryError as error:
        try:
            status = os.stat(entry.name, dir_fd=entry.folder, follow_symlinks=False)
        except FileNotFoundError:  # it was replaced meanwhile
            raise NotFound(f"there is no {entry.shown}", "its folders must exist") from error
        if stat.S_ISLNK(status.st_mode):
            raise _symlink(entry) from error
        raise BadInput(f"{entry.name!r} in {entry.shown} is not a folder", "check the path") from error


def _check_name(entry: Entry) -> None:
    if entry.name in ("", ".", "..") or "/" in entry.name or "\0" in entry.name:
        raise BadInput(f"{entry.shown} has {entry.name!r} in it, which hive does not follow", "write the plain path")


def _symlink(entry: Entry) -> Refused:
    return Refused(f"{entry.name!r} in {entry.shown} is a symlink, which hive does not follow", "name what it leads to")


class Copy:
    """One copy. `owner` gets it; None: the caller. A source is copied only if `takes` its uid."""

    def __init__(self, bounds: Bounds, takes: Callable[[int], bool], owner: tuple[int, int] | None = None) -> None:
        self._bounds = bounds
        self._takes = takes
        self._owner = owner
        self._umask = _umask()
        self._entries = 0
        self.report = Report()

    def run(self, source: Entry, target: Entry, *, force: bool) -> Report:
        """Copy `source` to `target`. With `force` a file takes the place of a file; a folder takes no place."""
        _check_name(source)
        _check_name(target)
        _check_free(target, force)
        fresh = Entry(target.folder, f".hive-cp-{secrets.token_hex(8)}", target.shown)
        try:
            descriptor = self._open(source)
            try:
                is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
                if is_folder:
                    self._folder(descriptor, fresh, source.shown, 0)
                else:
                    self._file(descriptor, fresh, source.shown)
            finally:
                os.close(descriptor)
            _place(fresh, target, is_folder=is_folder, force=force)
        except PermissionError as error:
            raise Refused(
                f"you may not copy {source.shown} to {target.shown}: {error.strerror}", "as root, or as hive's user"
            ) from error
        except OSError as error:
            raise disk_error(f"cannot copy {source.shown} to {target.shown}", error) from error
        finally:
            _discard(fresh)
        return self.report

    def _open(self, source: Entry) -> int:
        """Open the thing that was named. Raise an error if it is not to be copied."""
        try:
            descriptor = os.open(source.name, _FILE, dir_fd=source.folder)
        except FileNotFoundError as error:
            raise NotFound(
                f"there is no {source.shown}", "check the path; for a stopped agent its files are there, too"
            ) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _symlink(source) from error
            raise
        status = os.fstat(descriptor)
        if fault := self._fault(status):
            os.close(descriptor)
            raise Refused(f"{source.shown} is {fault}", "only regular files and folders of their owner are copied")
        return descriptor

    def _fault(self, status: os.stat_result) -> str | None:
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return "no regular file and no folder"
        return None if self._takes(status.st_uid) else f"of uid {status.st_uid}, another owner's"

    def _folder(self, source: int, target: Entry, shown: str, depth: int) -> None:
        """Make `target` and fill it. It belongs to the caller alone until it is whole."""
        if depth >= DEEPEST:
            raise BadInput(f"{shown} is deeper than {DEEPEST} folders", "copy a folder further below")
        os.mkdir(target.name, 0o700, dir_fd=target.folder)
        descriptor = os.open(target.name, _FOLDER, dir_fd=target.folder)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise Refused(f"{target.shown} was replaced while hive wrote it", "stop the agent, then try again")
            with os.scandir(source) as entries:
                for entry in entries:
                    self._inner(Entry(source, entry.name, f"{shown}/{entry.name}"), descriptor, target.shown, depth)
            self._finish(descriptor, os.fstat(source).st_mode | 0o700)
        finally:
            os.close(descriptor)
        self.report.folders += 1

    def _inner(self, source: Entry, target: int, shown: str, depth: int) -> None:
        self._count_entry(source.shown)
        try:
            descriptor = os.open(source.name, _FILE, dir_fd=source.folder)
        except FileNotFoundError:
            return  # removed meanwhile
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EWOULDBLOCK):
                raise
            self._leave_out(source)  # a symlink, a socket, or a file under a lease
            return
        try:
            status = os.fstat(descriptor)
            fresh = Entry(target, source.name, shown)
            if self._fault(status) is not None:
                self._leave_out(source)
            elif stat.S_ISDIR(status.st_mode):
                self._folder(descriptor, fresh, source.shown, depth + 1)
            else:
                self._file(descriptor, fresh, source.shown)
        finally:
            os.close(descriptor)

    def _file(self, source: int, target: Entry, shown: str) -> None:
        status = os.fstat(source)
        self._check_bytes(status.st_size, shown)  # before a file of holes is read
        descriptor = os.open(target.name, _NEW, 0o600, dir_fd=target.folder)
        try:
            while block := os.read(source, _BLOCK):
                self.report.bytes += len(block)
                self._check_bytes(0, shown)
                rest = memoryview(block)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            self._finish(descriptor, status.st_mode)
        finally:
            os.close(descriptor)
        self.report.files += 1

    def _finish(self, descriptor: int, mode: int) -> None:
        """Give what was made to its owner, with the rights of the source and no set-user-id bit."""
        os.fchmod(descriptor, mode & 0o777 & ~self._umask)
        if self._owner is not None:
            os.fchown(descriptor, *self._owner)

    def _count_entry(self, shown: str) -> None:
        self._entries += 1
        if self._entries > self._bounds.entries:
            raise PermanentError(
                f"there are more than {self._bounds.entries} files and folders, at {shown}", "copy parts of it"
            )

    def _check_bytes(self, more: int, shown: str) -> None:
        if self.report.bytes + more > self._bounds.bytes:
            limit = size(self._bounds.bytes)
            raise PermanentError(f"it is more than {limit}, at {shown}", "copy parts of it, or raise --max-mib")

    def _leave_out(self, source: Entry) -> None:
        if len(self.report.left_out) < LEFT_OUT_MOST:
            self.report.left_out.append(source.shown)


def _check_free(target: Entry, force: bool) -> None:
    try:
        status = os.stat(target.name, dir_fd=target.folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not force:
        raise Conflict(
            f"{target.shown} exists", "--force replaces a file; remove a folder first, or name another place"
        )
    if stat.S_ISDIR(status.st_mode):
        raise Conflict(f"{target.shown} is a folder", "remove it first, or name another place")


def _place(fresh: Entry, target: Entry, *, is_folder: bool, force: bool) -> None:
    """Give the whole copy its name. Without `force` nothing is replaced, not even what came meanwhile."""
    if not (is_folder or force):
        try:
            os.link(fresh.name, target.name, src_dir_fd=fresh.folder, dst_dir_fd=target.folder, follow_symlinks=False)
            return
        except FileExistsError:
            raise Conflict(f"{target.shown} exists", "it came while hive copied; --force replaces a file") from None
        except OSError as error:
            if error.errno not in _NO_LINKS:  # a file system without links
                raise
            _check_free(target, force)
    os.rename(fresh.name, target.name, src_dir_fd=fresh.folder, dst_dir_fd=target.folder)


def _discard(fresh: Entry) -> None:
    """Remove what is left of a copy. What an agent put in its place is a name of the agent's own folder."""
    with contextlib.suppress(OSError):
        os.unlink(fresh.name, dir_fd=fresh.folder)
        return
    shutil.rmtree(fresh.name, ignore_errors=True, dir_fd=fresh.folder)


def _umask() -> int:
    """Return the umask of this process, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
