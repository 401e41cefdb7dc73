"""Try each row of the table of refused calls and report the errors as JSON. Run inside a sandbox, by a test.

Every call is harmless even if nothing refuses it: its arguments are empty or invalid, and capabilities are needed for
most. A call that succeeds reports 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import signal
import socket
import sys
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
    "personality": (0x40000,),
    "pidfd_getfd": (-1,),
}
"""What makes the conditions of a row true, or a call invalid. All other arguments are 0."""


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
    }
    seen["harmless"] = {
        "unshare": in_child(lambda: call(at["unshare"], 0)),
        "ioctl": call(at["ioctl"], 0, 0x5401),
        "personality": call(at["personality"], 0xFFFFFFFF),
        "ptrace": in_child(lambda: call(at["ptrace"], 0)),
    }
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
