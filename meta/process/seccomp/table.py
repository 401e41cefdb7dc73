"""Which system calls and socket families a sandbox refuses, with the error that the caller gets and the reason.

Two rules choose the error. EPERM is for calls that always needed a privilege: every program knows that answer from an
ordinary user's life. ENOSYS is for optional features: programs then do without, as they do on an older kernel.

A call younger than `NEWEST` is refused with ENOSYS until someone has read its description and raised the number.
The same table drives the filter of bubblewrap (`program.py`) and the settings of the harness's unit in a NixOS
container (`unit.py`); `reference.py` writes it down for people.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

NEWEST = 469
"""file_setattr, of Linux 6.17. From 424 on a call has the same number on every machine."""

NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
NEW_TIME = 0x80
"""CLONE_NEWTIME; in clone(2) these bits are the signal at exit."""


class When(NamedTuple):
    """Refuse only if one argument matches: any of `bits` set, one of `values`, or none of `allowed`.

    Only the lower 32 bits count, as the kernel reads these arguments. `text` says the same for people.
    """

    argument: int
    text: str
    bits: int = 0
    values: tuple[int, ...] = ()
    allowed: tuple[int, ...] = ()


class Call(NamedTuple):
    """A refused system call. Its numbers are None on a machine that does not have it.

    `nested` marks what a sandbox within the sandbox needs: nix's builds may use it, agents never.
    """

    name: str
    x86_64: int | None
    aarch64: int | None
    error: int
    reason: str
    when: When | None = None
    nested: bool = False


class Family(NamedTuple):
    """An allowed socket family with its allowed types and protocols; None: all of them."""

    name: str
    number: int
    reason: str
    types: tuple[int, ...] | None = None
    protocols: tuple[int, ...] | None = None


_NAMESPACE = When(0, "with a CLONE_NEW* flag", bits=NAMESPACES)
_MOUNT = "changes what the sandbox sees"
_NEW_MOUNT = "the new mount API: changes what the sandbox sees"
_KEYS = "keyrings have no namespace: they belong to the host"
_RING = "io_uring works past a filter of system calls, and has a long history of faults"
_MEMORY = "reads or writes the memory of another process"
_HOST = "changes the host"
_PAGES = "moves the memory of other processes"
_MODULE = "loads or removes code of the kernel"
_OLD = "removed from the kernel or kept for old programs only"

CALLS = (
    # namespaces
    Call("unshare", 272, 97, errno.EPERM, "a user namespace opens most of the kernel to ordinary users",
         When(0, "with a CLONE_NEW* flag", bits=NAMESPACES | NEW_TIME), nested=True),
    Call("clone", 56, 220, errno.EPERM, "the same through another call", _NAMESPACE, nested=True),
    Call("clone3", 435, 435, errno.ENOSYS, "its flags lie in memory, unseen by filters; libc falls back to clone"),
    Call("setns", 308, 268, errno.EPERM, "enters a namespace of another process", nested=True),
    # mounts
    Call("mount", 165, 40, errno.EPERM, _MOUNT, nested=True),
    Call("umount2", 166, 39, errno.EPERM, _MOUNT, nested=True),
    Call("pivot_root", 155, 41, errno.EPERM, _MOUNT, nested=True),
    Call("chroot", 161, 51, errno.EPERM, _MOUNT, nested=True),
    Call("open_tree", 428, 428, errno.ENOSYS, _NEW_MOUNT, nested=True),
    Call("move_mount", 429, 429, errno.ENOSYS, _NEW_MOUNT, nested=True),
    Call("fsopen", 430, 430, errno.ENOSYS, _NEW_MOUNT, nested=True),
    Call("fsconfig", 431, 431, errno.ENOSYS, _NEW_MOUNT, nested=True),
    Call("fsmount", 432, 432, errno.ENOSYS, _NEW_MOUNT, nested=True),
    Call("fspick", 433, 433, errno.ENOSYS, _NEW_MOUNT, nested=True),
    Call("mount_setattr", 442, 442, errno.ENOSYS, _NEW_MOUNT, nested=True),
    Call("open_tree_attr", 467, 467, errno.ENOSYS, _NEW_MOUNT, nested=True),
    # keyrings
    Call("add_key", 248, 217, errno.ENOSYS, _KEYS),
    Call("request_key", 249, 218, errno.ENOSYS, _KEYS),
    Call("keyctl", 250, 219, errno.ENOSYS, _KEYS),
    # programs in the kernel, tracing, other processes
    Call("bpf", 321, 280, errno.EPERM, "runs programs in the kernel; EPERM is what ordinary users get by default"),
    Call("perf_event_open", 298, 241, errno.ENOSYS, "measures the kernel and other processes; profilers do without"),
    Call("userfaultfd", 323, 282, errno.ENOSYS, "stops the kernel in the middle of a copy: a tool of many exploits"),
    Call("io_uring_setup", 425, 425, errno.ENOSYS, _RING),
    Call("io_uring_enter", 426, 426, errno.ENOSYS, _RING),
    Call("io_uring_register", 427, 427, errno.ENOSYS, _RING),
    Call("ptrace", 101, 117, errno.EPERM, "takes over a process that did not ask for it",
         When(0, "PTRACE_ATTACH and PTRACE_SEIZE; a child may still ask with PTRACE_TRACEME", values=(16, 0x4206))),
    Call("process_vm_readv", 310, 270, errno.EPERM, _MEMORY),
    Call("process_vm_writev", 311, 271, errno.EPERM, _MEMORY),
    Call("process_madvise", 440, 440, errno.EPERM, _MEMORY),
    Call("kcmp", 312, 272, errno.ENOSYS, "compares what is inside two processes"),
    Call("pidfd_getfd", 438, 438, errno.EPERM, "takes a descriptor out of another process"),
    Call("move_pages", 279, 239, errno.EPERM, _PAGES),
    Call("migrate_pages", 256, 238, errno.EPERM, _PAGES),
    # files by other ways than a path, and waits of those who open them
    Call("open_by_handle_at", 304, 265, errno.EPERM, "opens a file that no path of the sandbox leads to"),
    Call("fanotify_init", 300, 262, errno.ENOSYS, "watches whole file systems; programs use inotify instead"),
    Call("fcntl", 72, 25, errno.EPERM, "makes others, such as hive, wait in open(2); to watch there is inotify",
         When(1, "F_SETLEASE, F_SETDELEG and F_NOTIFY", values=(1024, 1040, 1026))),
    Call("quotactl", 179, 60, errno.EPERM, "quotas are the host's"),
    Call("quotactl_fd", 443, 443, errno.EPERM, "quotas are the host's"),
    Call("acct", 163, 89, errno.EPERM, _HOST),
    # terminals and the executing machine
    Call("ioctl", 16, 29, errno.EPERM, "types into a terminal, or gives it another driver",
         When(1, "TIOCSTI, TIOCLINUX, TIOCCONS and TIOCSETD", values=(0x5412, 0x541C, 0x541D, 0x5423))),
    Call("personality", 135, 92, errno.EPERM, "switches protections of memory off, such as address randomization",
         When(0, "other than PER_LINUX, PER_LINUX32 and the query", allowed=(0, 8, 0xFFFFFFFF)), nested=True),
    Call("modify_ldt", 154, None, errno.ENOSYS, "segments for 16 bit programs, a source of faults in the kernel"),
    Call("iopl", 172, None, errno.EPERM, "the ports of devices"),
    Call("ioperm", 173, None, errno.EPERM, "the ports of devices"),
    # the host
    Call("kexec_load", 246, 104, errno.EPERM, _MODULE),
    Call("kexec_file_load", 320, 294, errno.EPERM, _MODULE),
    Call("init_module", 175, 105, errno.EPERM, _MODULE),
    Call("finit_module", 313, 273, errno.EPERM, _MODULE),
    Call("delete_module", 176, 106, errno.EPERM, _MODULE),
    Call("reboot", 169, 142, errno.EPERM, _HOST),
    Call("swapon", 167, 224, errno.EPERM, _HOST),
    Call("swapoff", 168, 225, errno.EPERM, _HOST),
    Call("settimeofday", 164, 170, errno.EPERM, _HOST),
    Call("clock_settime", 227, 112, errno.EPERM, _HOST),
    Call("sethostname", 170, 161, errno.EPERM, "the name is the sandbox's, and hive gave it", nested=True),
    Call("setdomainname", 171, 162, errno.EPERM, "the name is the sandbox's, and hive gave it", nested=True),
    Call("vhangup", 153, 58, errno.EPERM, "ends the session of a terminal"),
    Call("syslog", 103, 116, errno.EPERM, "reads the kernel's log, with addresses and the names of others"),
    Call("lookup_dcookie", 212, 18, errno.ENOSYS, _OLD),
    Call("nfsservctl", 180, 42, errno.ENOSYS, _OLD),
    Call("uselib", 134, None, errno.ENOSYS, _OLD),
    Call("ustat", 136, None, errno.ENOSYS, _OLD),
    Call("sysfs", 139, None, errno.ENOSYS, _OLD),
    Call("_sysctl", 156, None, errno.ENOSYS, _OLD),
)  # fmt: skip

FAMILIES = (
    Family("AF_UNIX", 1, "hive's own sockets, and every program's pipes between processes"),
    Family(
        "AF_INET",
        2,
        "TCP, UDP and ping: other protocols, such as SCTP and DCCP, would load modules of the kernel",
        types=(1, 2, 3),
        protocols=(0, 1, 6, 17),
    ),
    Family("AF_INET6", 10, "the same for IPv6", types=(1, 2, 3), protocols=(0, 6, 17, 58)),
    Family("AF_NETLINK", 16, "NETLINK_ROUTE only: the list of interfaces, for getifaddrs", protocols=(0,)),
)
SOCKET_CALLS = {"x86_64": (41, 53), "aarch64": (198, 199)}
"""socket and socketpair."""
