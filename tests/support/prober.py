"""Try each row of the table of refused calls and report the errors as JSON. Run inside a sandbox, by a test.

Every call is harmless even if nothing refuses it: its arguments are empty or invalid, and capabilities are needed for
most. A call that succeeds reports 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from meta.process.seccomp.table import CALLS, NEWEST

libc = ctypes.CDLL(None, use_errno=True)
NEW_USER = 0x10000000
ARGUMENTS: dict[str, tuple[int, ...]] = {
    "unshare": (NEW_USER,),
    "clone": (NEW_USER | signal.SIGCHLD,),
    "setns": (-1,),
    "acct": (1,),
    "sethostname": (0, 4096),
    "setdomainname": (0, 4096),
    "syslog": (-1,),
    "ptrace": (16,),
    "ioctl": (0, 0x5412),
    "fcntl": (0, fcntl.F_SETLEASE, fcntl.F_UNLCK),
    "personality": (0x40000,),
    "pidfd_getfd": (-1,),
}
"""What makes the conditions of a row true, or a call invalid. All other arguments are 0."""


LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
DELEGATION = struct.pack("IHH", 0, fcntl.F_RDLCK, 0)
SET_DELEGATION = 1040
LEASES: dict[str, tuple[int, int, int | bytes]] = {
    "write lease": (os.O_RDONLY, fcntl.F_SETLEASE, fcntl.F_WRLCK),
    "read lease": (os.O_RDONLY, fcntl.F_SETLEASE, fcntl.F_RDLCK),
    "delegation": (os.O_RDONLY, SET_DELEGATION, DELEGATION),
    "notify": (os.O_DIRECTORY, fcntl.F_NOTIFY, fcntl.DN_CREATE),
}
"""Commands of fcntl(2) that have others wait or be watched: how the own file is opened, the command, its argument."""
COMMANDS: dict[str, tuple[int, int, int | bytes]] = {
    "F_GETFL": (os.O_RDWR, fcntl.F_GETFL, 0),
    "F_SETFL": (os.O_RDWR, fcntl.F_SETFL, os.O_NONBLOCK),
    "F_SETFD": (os.O_RDWR, fcntl.F_SETFD, fcntl.FD_CLOEXEC),
    "F_SETLK": (os.O_RDWR, fcntl.F_SETLK, LOCK),
    "F_SETLKW": (os.O_RDWR, fcntl.F_SETLKW, LOCK),
    "F_OFD_SETLK": (os.O_RDWR, fcntl.F_OFD_SETLK, LOCK),
    "F_DUPFD": (os.O_RDWR, fcntl.F_DUPFD, 0),
    "F_DUPFD_CLOEXEC": (os.O_RDWR, fcntl.F_DUPFD_CLOEXEC, 0),
    "F_GETLEASE": (os.O_RDONLY, fcntl.F_GETLEASE, 0),
}
"""The same for commands that programs need."""


def call(number: int, *arguments: int) -> int:
    """Make a system call; its error, or 0."""
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in (*arguments, *[0] * 6)[:6])) != -1:
        return 0
    return ctypes.get_errno()


def in_child(action: Callable[[], int]) -> int:
    """What `action` returns in a child process; minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        os._exit(action())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def made(family: int, kind: int, protocol: int) -> int:
    """The error of socket(2), or 0."""
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        return error.errno or -1
    return 0


def controlled(flags: int, command: int, argument: int | bytes) -> int:
    """Return the error of fcntl(2) on a file of this process's own, or on its directory; 0 if it succeeds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "own"
        file.touch()
        descriptor = os.open(folder if flags & os.O_DIRECTORY else file, flags)
        try:
            fcntl.fcntl(descriptor, command, argument)
        except OSError as error:
            return error.errno or -1
        finally:
            os.close(descriptor)
    return 0


def old_getpid() -> int:
    """getpid(2) by the rules of a 32 bit program."""
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
        anchor = ctypes.c_char.from_buffer(page)
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(anchor))
        answer = int(function() < 0)
        del function, anchor
    return answer


def numbers() -> dict[str, int]:
    """The numbers of the table's calls on this machine."""
    column = "x86_64" if os.uname().machine == "x86_64" else "aarch64"
    found = {row.name: getattr(row, column) for row in CALLS}
    return {name: number for name, number in found.items() if number is not None}


def main() -> None:
    """Print everything that was tried."""
    at = numbers()
    seen: dict[str, object] = {}
    seen["calls"] = {name: in_child(partial(call, number, *ARGUMENTS.get(name, ()))) for name, number in at.items()}
    high = 1 << 32
    seen["high"] = {
        "ioctl": call(at["ioctl"], 0, high | 0x5412),
        "unshare": in_child(lambda: call(at["unshare"], high | NEW_USER)),
        "fcntl": call(at["fcntl"], 0, high | fcntl.F_SETLEASE, fcntl.F_UNLCK),
    }
    seen["harmless"] = {
        "unshare": in_child(lambda: call(at["unshare"], 0)),
        "ioctl": call(at["ioctl"], 0, 0x5401),
        "personality": call(at["personality"], 0xFFFFFFFF),
        "ptrace": in_child(lambda: call(at["ptrace"], 0)),
    }
    seen["leases"] = {name: in_child(partial(controlled, *arguments)) for name, arguments in LEASES.items()}
    seen["fcntl"] = {name: in_child(partial(controlled, *arguments)) for name, arguments in COMMANDS.items()}
    seen["families"] = {family: made(family, socket.SOCK_DGRAM, 0) for family in range(1, 48)}
    seen["netlink"] = {protocol: made(socket.AF_NETLINK, socket.SOCK_RAW, protocol) for protocol in range(23)}
    seen["inet"] = {
        name: made(socket.AF_INET, kind, protocol)
        for name, kind, protocol in (
            ("tcp", socket.SOCK_STREAM, 6),
            ("udp", socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 17),
            ("dccp", 6, 0),
            ("sctp", socket.SOCK_STREAM, 132),
            ("mptcp", socket.SOCK_STREAM, 262),
        )
    }
    seen["young"] = call(NEWEST + 1)
    seen["x32"] = call(0x40000000 | 39)
    seen["landlock"] = call(444, 0, 0, 1)
    if os.uname().machine == "x86_64":
        seen["int80"] = in_child(old_getpid)
    status = Path("/proc/1/status").read_text(encoding="ascii").splitlines()
    seen["first"] = next(int(line.split()[1]) for line in status if line.startswith("Seccomp:"))
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
