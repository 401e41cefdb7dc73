"""The identity of a process: it cannot be mistaken for that of a later process with the same number."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from meta.errors import NotFound

_PROC = Path("/proc")
_GONE = (errno.ESRCH, errno.EINVAL, errno.ENOENT)
"""Errors of pidfd_open if no process has the number. Older kernels report the last two for the number of a thread."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, once: the pid with its start time (field 22 of /proc/<pid>/stat, clock ticks) and the boot id."""

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Stat:
    """Fields of /proc/<pid>/stat: state letter, session id, start time in clock ticks since boot."""

    state: str
    session: int
    start_time: int


def stat(pid: int) -> Stat | None:
    """Return the state of a process now, zombies included; None if there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the program name before it may contain spaces and parentheses
    return Stat(state=fields[0], session=int(fields[3]), start_time=int(fields[19]))


def boot_id() -> str:
    """Return the random id of this boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identity(pid: int) -> ProcessIdentity:
    """Return the identity of a process that exists now; a zombie counts. Raise NotFound otherwise."""
    now = stat(pid)
    if now is None:
        raise NotFound(f"process {pid} is not running")
    return ProcessIdentity(pid, now.start_time, boot_id())


def leads_session(pid: int) -> bool:
    """Return True if a process exists now and is the leader of its session."""
    now = stat(pid)
    return now is not None and now.session == pid


def alive(which: ProcessIdentity) -> bool:
    """Return True if exactly this process still runs: not a zombie, not a later process with the same pid."""
    now = stat(which.pid)
    if now is None or now.state in "ZX" or now.start_time != which.start_time:
        return False
    return which.boot_id == boot_id()


def open_pidfd(which: ProcessIdentity) -> int | None:
    """Return a pidfd of exactly this process, which the caller closes; None if the process has ended.

    Its number may belong to another process by now, or to a thread of one. Raise OSError for a failure of the host.
    """
    if not alive(which):
        return None
    try:
        pidfd = os.pidfd_open(which.pid)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    if not alive(which):  # it ended, and its number was reused, between the check and the open
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
