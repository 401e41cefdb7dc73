"""Enter the namespaces of a running process with setns(2). Linux only; the caller must have a single thread.

If bubblewrap was started without root, its mounts belong to one user namespace, and the program runs in a second one
inside it. nsenter enters only the inner one, which has no rights over the mounts; so this module enters both.
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


class Namespaces:
    """The namespaces of a process. They are opened once, so a later process with the same pid cannot be entered."""

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
    def without_root(self) -> bool:
        """True if the process has a user namespace of its own, as bubblewrap makes one without root."""
        return os.fstat(self._inner).st_ino != os.stat("/proc/self/ns/user").st_ino  # noqa: PTH116

    def enter(self) -> None:
        """Move this process into them, with all rights there; its children are in the pid namespace. Raise OSError."""
        without_root = self.without_root
        if without_root and os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(self._owner.st_gid, self._owner.st_gid, self._owner.st_gid)
            os.setresuid(self._owner.st_uid, self._owner.st_uid, self._owner.st_uid)
        same = os.fstat(self._inner).st_ino == os.fstat(self._outer).st_ino
        for fd in [
            *([self._outer] if without_root else []),
            *self._fds,
            *([self._inner] if without_root and not same else []),
        ]:
            if _libc.setns(fd, 0) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        os.chdir("/")

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (*self._fds, self._inner, self._outer):
            os.close(fd)
