"""Unix sockets that hive listens on, with the right mode and owner before a peer can connect.

The directory may belong to an agent (it is bound into its container), so this module follows no symlink in it: it opens
the directory once, and bind, chmod, chown, stat and unlink all work below that descriptor.
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
        """Return True if the file at `path` is still the one that hive created for this socket."""
        try:
            return _inode(self.path.lstat()) == self.inode
        except OSError:
            return False

    def remove(self) -> None:
        """Close the socket and remove its file, unless another file has replaced it."""
        self.sock.close()
        if self.present():
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def make_directory(path: Path, uid: int | None = None) -> None:
    """Make the directory for sockets, with its parents. An existing directory is not changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o750)
    except FileExistsError:
        return
    if uid is not None:
        os.chown(path, uid, uid)


def bind(path: Path, uid: int | None = None, *, exclusive: bool = False) -> Bound:
    """Listen at `path` with mode 0660, owned by `uid` if given. Replace the socket file of an earlier daemon.

    `exclusive`, for hive's own directory: raise Conflict if another process listens there, or if the file is not a
    socket. Otherwise a file that is not a socket is moved aside. It is never removed.
    """
    if exclusive:
        _refuse_rival(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with _opened(path.parent) as directory:
            _remove_stale(path, directory, aside=not exclusive)
            # Through the descriptor no symlink is followed, and the path fits the 108 bytes of a socket address.
            os.fchmod(sock.fileno(), MODE)
            sock.bind(f"/proc/self/fd/{directory}/{path.name}")
            inode = _set_owner(path.name, directory, uid)
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
        status = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(status.st_mode):
        os.unlink(path.name, dir_fd=directory)
        return
    if not aside:
        raise Conflict(f"{path} is not a socket", "move it away; hive makes its socket there")
    # An agent owns this directory. A file that it puts there must not keep hive from listening.
    os.rename(path.name, f"{path.name}.aside-{secrets.token_hex(4)}", src_dir_fd=directory, dst_dir_fd=directory)
    log.warning("%s was not a socket; moved it aside", path, extra={"limited": f"{path} aside"})


def _set_owner(name: str, directory: int, uid: int | None) -> tuple[int, int]:
    """Set mode and owner of the new file, and return its device and inode. No peer can connect before `listen` is
    called.
    """
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISSOCK(status.st_mode):
            raise OSError(errno.ESTALE, "replaced while hive made it")
        exact = f"/proc/self/fd/{descriptor}"
        # The umask has removed bits at bind. Changing the umask would change it for every thread.
        Path(exact).chmod(MODE)
        if uid is not None:
            os.chown(exact, uid, uid)
        return _inode(status)
    finally:
        os.close(descriptor)


def _refuse_rival(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            connect(probe, path)
        except OSError:
            return
    raise Conflict(f"another process already listens on {path}", "stop the other daemon, or give another --runtime")


def connect(sock: socket.socket, path: Path) -> None:
    """Connect to a unix socket whose path may be longer than a socket address. Raise OSError as `socket.connect`."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def connect_to_agent(sock: socket.socket, path: Path) -> None:
    """Connect to a socket in an agent's directory, where the agent may put a symlink to another socket. OSError."""
    with _opened(path.parent) as directory:
        descriptor = os.open(path.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                raise OSError(errno.ENOTSOCK, "it is not a socket")
            sock.connect(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
