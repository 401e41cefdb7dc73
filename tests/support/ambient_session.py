"""Become a session full of odd settings, then execute a command line: what a daemon could have been started in.

python ambient_session.py KEY COMMAND [ARGUMENT...]     KEY is the description of a key in its session keyring
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping

GROUP = 4242
libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY, KEYCTL, RT_SIGACTION = (248, 250, 13) if os.uname().machine == "x86_64" else (217, 219, 134)
ONLY_POSSESSOR = 0x3F000000


def key(description: bytes) -> None:
    """A session keyring with one key, which only processes of the session can see."""
    session = ctypes.c_long(-3)
    assert libc.syscall(KEYCTL, 1, None) > 0
    serial = libc.syscall(ADD_KEY, b"user", description, b"x", ctypes.c_size_t(1), session)
    assert serial > 0
    assert libc.syscall(KEYCTL, 5, serial, ctypes.c_uint(ONLY_POSSESSOR)) == 0


SignalAction = ctypes.Array[ctypes.c_ulong]
"""The kernel's `struct sigaction`: handler, flags, restorer, mask."""


def set_signals_of_libc(actions: Mapping[int, SignalAction]) -> dict[int, SignalAction]:
    """Set what 32 and 33 do, as a program that was built without glibc can. Return what they did before: without
    glibc's own handler a setuid() of this process would end its other threads.
    """
    before: dict[int, SignalAction] = {number: (ctypes.c_ulong * 4)() for number in actions}
    for number, action in actions.items():
        assert libc.syscall(RT_SIGACTION, number, action, before[number], ctypes.c_size_t(8)) == 0
    return before


def ignore_signals_of_libc() -> dict[int, SignalAction]:
    """Ignore 32 and 33. Return what they did before."""
    thread = threading.Thread(target=int)  # glibc sets its handler with the first one
    thread.start()
    thread.join()
    return set_signals_of_libc({number: (ctypes.c_ulong * 4)(signal.SIG_IGN) for number in (32, 33)})


def main(description: str, command: list[str]) -> None:
    """Spoil everything, and execute."""
    key(description.encode())
    os.setgroups([GROUP])
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("300")  # a lower one needs a capability that root may lack in a container
    for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (hard, hard))
    os.umask(0o077)
    os.dup2(os.open("/etc/hostname", os.O_RDONLY), 77, inheritable=True)
    os.chdir("/var")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGRTMIN + 3):
        signal.signal(number, signal.SIG_IGN)
    ignore_signals_of_libc()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})
    libc.personality(0x0040000)
    os.environ["SESSION_SECRET"] = "hunter2"
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
