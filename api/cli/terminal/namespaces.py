"""Into the namespaces of a running process, as setns(2) does it. Linux only; the caller is a process with one thread.

Where bubblewrap was started without root, its mounts belong to one user namespace and the program runs in another
within that. nsenter knows only the inner one, whose rights do not reach; so this goes through both.
"""

from __future__ import annotations

import ctypes
import fcntl
import os

from meta.errors import Refused

NS_GET_USERNS = 0xB701
"""ioctl(2) on a namespace: the user namespace that it belongs to."""
KINDS = ("ipc", "uts", "net", "pid", "mnt")
_libc = ctypes.CDLL(None, use_errno=True)


class Room:
    """The namespaces of a process, opened once: a later process of the same number cannot be meant."""

    def __init__(self, pid: int) -> None:
        try:
            self._fds = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in KINDS]
            self._inner = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            self._outer = fcntl.ioctl(self._fds[-1], NS_GET_USERNS)
            self._owner = os.stat(f"/proc/{pid}")  # noqa: PTH116
        except OSError as error:
            raise Refused(
                f"you may not enter process {pid}: {error.strerror}", "do it as root, or as the user that runs hive"
            ) from error

    @property
    def of_a_user(self) -> bool:
        """Whether it has a user namespace of its own, as without root."""
        return os.fstat(self._inner).st_ino != os.stat("/proc/self/ns/user").st_ino  # noqa: PTH116

    def enter(self) -> None:
        """Become a process in it, with all the rights there are; children are in its pid namespace. OSError."""
        of_a_user = self.of_a_user
        if of_a_user and os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(self._owner.st_gid, self._owner.st_gid, self._owner.st_gid)
            os.setresuid(self._owner.st_uid, self._owner.st_uid, self._owner.st_uid)
        same = os.fstat(self._inner).st_ino == os.fstat(self._outer).st_ino
        for fd in [
            *([self._outer] if of_a_user else []),
            *self._fds,
            *([self._inner] if of_a_user and not same else []),
        ]:
            if _libc.setns(fd, 0) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        os.chdir("/")

    def close(self) -> None:
        """Let go of it."""
        for fd in (*self._fds, self._inner, self._outer):
            os.close(fd)
