"""Which process is meant: a process id that cannot be mistaken for a later process with the same number."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from meta.errors import NotFound

_PROC = Path("/proc")
_GONE = (errno.ESRCH, errno.EINVAL, errno.ENOENT)
"""What pidfd_open says of a number that no process has; the last two for that of a thread, by the kernel's age."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, once: the pid with its start time (field 22 of /proc/<pid>/stat, clock ticks) and the boot id."""

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/<pid>/stat says: state letter, session id, start time in clock ticks since boot."""

    state: str
    session: int
    start_time: int


def stat(pid: int) -> Stat | None:
    """The process as it is now, zombies included; None when there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return Stat(state=fields[0], session=int(fields[3]), start_time=int(fields[19]))


def boot_id() -> str:
    """Random id of this boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identity(pid: int) -> ProcessIdentity:
    """The identity of a process that is there now (a zombie counts); NotFound otherwise."""
    found = stat(pid)
    if found is None:
        raise NotFound(f"process {pid} is not running")
    return ProcessIdentity(pid, found.start_time, boot_id())


def alive(which: ProcessIdentity) -> bool:
    """Whether exactly this process still runs. A zombie does not; neither does a later one with the same pid."""
    found = stat(which.pid)
    if found is None or found.state in "ZX" or found.start_time != which.start_time:
        return False
    return which.boot_id == boot_id()


def open_pidfd(which: ProcessIdentity) -> int | None:
    """A pidfd of exactly this process, for the caller to close; None when it is gone.

    Its number may belong to another process by now, or to a thread of one. OSError for what says nothing about it.
    """
    if not alive(which):
        return None
    try:
        pidfd = os.pidfd_open(which.pid)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    if not alive(which):  # it ended, and its number was given away, between the look and the open
        os.close(pidfd)
        return None
    return pidfd


async def readable(fd: int) -> None:
    """Wait until `fd` can be read (for a pidfd: until the process has ended)."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
