"""Become a session full of odd settings, then execute a command line: what a daemon could have been started in.

python ambient_session.py KEY COMMAND [ARGUMENT...]     KEY is the description of a key in its session keyring
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

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


def dispose_signals_of_libc(disposition: signal.Handlers) -> None:
    """Ignore 32 and 33, or set their default: as a program that was built without glibc can."""
    action = (ctypes.c_ulong * 4)(disposition)
    for number in (32, 33):
        assert libc.syscall(RT_SIGACTION, number, action, None, ctypes.c_size_t(8)) == 0


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
    dispose_signals_of_libc(signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})
    libc.personality(0x0040000)
    os.environ["SESSION_SECRET"] = "hunter2"
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
