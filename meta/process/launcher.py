"""Start bubblewrap with nothing of the daemon's session, under a filter of system calls.

    python -I -S launcher.py FILTER BWRAP [ARGUMENT...]       FILTER is a program of BPF in hexadecimal digits

A script of its own, standard library only, so that it starts in about 20 ms. `hive shell` imports it for the program
that it starts in an agent's namespaces, and `hive serve` for a keyring of its own.

What a process inherits, and what becomes of it (docs/reference/inheritance.md):

    session keyring            a new one, empty, without a name
    descriptors                0, 1 and 2; the others are closed
    signals                    default dispositions, nothing blocked
    umask, directory           022, /
    supplementary groups       none, as root
    limits                     LIMITS, as upper bounds
    scheduling                 the normal policy and input/output class, nice 0
    out-of-memory score        0
    personality                the standard one
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import struct
import sys

LIMITS = {
    "CORE": (0, 0),
    "NOFILE": (1024, 524_288),
    "STACK": (8 << 20, resource.RLIM_INFINITY),
    "MEMLOCK": (8 << 20, 8 << 20),
    "MSGQUEUE": (819_200, 819_200),
    "NICE": (0, 0),
    "RTPRIO": (0, 0),
}
"""Soft and hard limits, in bytes or counts. A lower limit of the session stays: it cannot be raised without root."""

_JOIN_SESSION_KEYRING = 1
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_RT_SIGACTION = {"x86_64": 13, "aarch64": 134}
_LIBC_SIGNALS = (32, 33)
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_libc = ctypes.CDLL(None, use_errno=True)


def join_keyring() -> None:
    """Give the calling thread, and what it starts from now on, a new and empty session keyring.

    On a kernel without keyrings, and where an outer filter refuses the call, there is nothing to do: no process that
    is started from here can use a key either. OSError if the user has too many keys.
    """
    try:
        _syscall(_KEYCTL, _JOIN_SESSION_KEYRING, 0)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise


def settle() -> None:
    """Replace what this process inherited. For a process with one thread that is about to execute a program."""
    join_keyring()
    os.closerange(3, 1 << 20)
    os.umask(0o022)
    os.chdir("/")
    _libc.personality(0)
    reset_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # in a user namespace that forbids it they have no rights either
            os.setgroups(())
    _limit()
    _schedule()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("0")  # refused only if root raised it: then the process is ended first, which is right


def reset_signals() -> None:
    """Set the default disposition of every signal.

    glibc keeps 32 and 33 for itself and lets no program change them (nptl(7)), but a parent that was built without it
    can leave them ignored. So they are set by the kernel's own call, with an empty `struct sigaction`.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
    default = ctypes.create_string_buffer(32)
    for reserved in _LIBC_SIGNALS:
        with contextlib.suppress(OSError):  # another machine, or refused by a filter outside
            _syscall(_RT_SIGACTION, reserved, ctypes.addressof(default), 0, 8)


def _limit() -> None:
    for name, bounds in LIMITS.items():
        which = getattr(resource, f"RLIMIT_{name}")
        soft, hard = (_lower(*pair) for pair in zip(bounds, resource.getrlimit(which), strict=True))
        resource.setrlimit(which, (_lower(soft, hard), hard))


def _lower(one: int, other: int) -> int:
    if one == resource.RLIM_INFINITY:
        return other
    return one if other == resource.RLIM_INFINITY else min(one, other)


def _schedule() -> None:
    """Take the normal policy. Without root a session that has less than that cannot be left."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError):
        _syscall(_IOPRIO_SET, 1, 0, 0)


def _syscall(numbers: dict[str, int], *arguments: int) -> None:
    """Call the kernel. OSError, ENOSYS on a machine that `numbers` does not have."""
    number = numbers.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(argument) for argument in arguments)) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def confine(program: bytes) -> None:
    """Put this process and what it executes under a filter, for good. OSError if the kernel refuses."""
    code = ctypes.create_string_buffer(program, len(program))
    descriptor = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    mode, address = ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.c_ulong(ctypes.addressof(descriptor))
    none = ctypes.c_ulong(0)
    for option, value, further in ((_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), none), (_PR_SET_SECCOMP, mode, address)):
        if _libc.prctl(option, value, further, none, none) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _offer(program: bytes) -> int:
    """Return a descriptor from which the program that is executed reads `program`."""
    fd = os.memfd_create("hive-seccomp", 0)
    os.write(fd, program)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def main(program: str, bwrap: str, arguments: list[str]) -> int:
    """Execute bubblewrap. Returns only if that fails."""
    try:
        settle()
        fd = _offer(bytes.fromhex(program))
        os.execv(bwrap, [bwrap, "--seccomp", str(fd), *arguments])  # noqa: S606 - an argument list, and no shell
    except (OSError, ValueError) as error:
        os.write(2, f"hive: cannot start {bwrap}: {error}\n".encode())
    return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
