"""Unix sockets that hive listens on: made with the right mode and owner before anybody can connect.

The directory may belong to an agent (it is bound into its container), so nothing here follows a symlink in it:
the directory is opened once, and bind, chmod, chown, stat and unlink all work below that descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meta.errors import Conflict, PermanentError

log = logging.getLogger(__name__)

MODE = 0o660
BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket and the inode of its file."""

    path: Path
    sock: socket.socket
    inode: tuple[int, int]

    def present(self) -> bool:
        """True while the file at `path` is still the one that was made for this socket."""
        try:
            return _inode(self.path.lstat()) == self.inode
        except OSError:
            return False

    def remove(self) -> None:
        """Close the socket and remove its file, unless another one took its place."""
        self.sock.close()
        if self.present():
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def make_directory(path: Path, uid: int | None = None) -> None:
    """The directory for sockets, with its parents; one that exists is left exactly as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o750)
    except FileExistsError:
        return
    if uid is not None:
        os.chown(path, uid, uid)


def bind(path: Path, uid: int | None = None, *, exclusive: bool = False) -> Bound:
    """Listen at `path`, replacing a socket file that an earlier daemon left; mode 0660, owned by `uid` when given.

    `exclusive`: a file that somebody still listens on is a Conflict. Anything that is no socket is
    never removed: it is a Conflict when `exclusive` (hive's own directory), else moved aside.
    """
    if exclusive:
        _refuse_rival(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with _opened(path.parent) as directory:
            _remove_stale(path, directory, aside=not exclusive)
            # Bound through the descriptor: no symlink is followed, and the 108 bytes of a socket address suffice.
            os.fchmod(sock.fileno(), MODE)
            sock.bind(f"/proc/self/fd/{directory}/{path.name}")
            inode = _adorn(path.name, directory, uid)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise PermanentError(
            f"cannot listen on {path}: {error.strerror}", f"look at the owner and mode of {path.parent}"
        ) from error
    except BaseException:
        sock.close()
        raise
    return Bound(path, sock, inode)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_stale(path: Path, directory: int, *, aside: bool) -> None:
    try:
        found = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(found.st_mode):
        os.unlink(path.name, dir_fd=directory)
        return
    if not aside:
        raise Conflict(f"{path} is in the way and no socket", "move it away; hive makes its socket there")
    # An agent owns its directory: whatever it puts there must not keep hive from listening.
    os.rename(path.name, f"{path.name}.aside-{secrets.token_hex(4)}", src_dir_fd=directory, dst_dir_fd=directory)
    log.warning("%s was no socket; moved aside", path, extra={"limited": f"{path} aside"})


def _adorn(name: str, directory: int, uid: int | None) -> tuple[int, int]:
    """Mode and owner of the file just made; nobody can connect before `listen`. Returns its device and inode."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError(errno.ESTALE, "replaced while it was made")
        exact = f"/proc/self/fd/{descriptor}"
        # The umask took bits away at bind; changing the umask would change it for every thread.
        Path(exact).chmod(MODE)
        if uid is not None:
            os.chown(exact, uid, uid)
        return _inode(found)
    finally:
        os.close(descriptor)


def _refuse_rival(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            connect(probe, path)
        except OSError:
            return
    raise Conflict(f"somebody is listening on {path} already", "stop the other daemon, or give another --runtime")


def connect(sock: socket.socket, path: Path) -> None:
    """Connect to a unix socket whose path may be longer than a socket address. OSError as `socket.connect`."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
