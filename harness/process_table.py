"""The processes of this container as /proc shows them. Only the standard library: a small process uses it too."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class Process:
    """One process, once: its number, and the start time that tells it from a later one with the same number."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Row:
    """A process, its parent, and whether it has ended and waits to be reaped."""

    process: Process
    parent: int
    zombie: bool


def read_rows() -> dict[int, Row]:
    """Return every process by its number."""
    numbers = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
    rows = ((pid, read_row(pid)) for pid in numbers)
    return {pid: row for pid, row in rows if row is not None}


def read_row(pid: int) -> Row | None:
    """Return one process, None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the program's name before it may contain spaces and parentheses
    return Row(Process(pid, int(fields[19])), int(fields[1]), fields[0] in "ZX")


def below(root: int, rows: Mapping[int, Row]) -> Iterator[Process]:
    """Return the descendants of a process, without itself. Raise ValueError for 0, below which is every process."""
    if root < 1:
        raise ValueError(f"{root} is the number of no process")
    children: dict[int, list[int]] = {}
    for pid, row in rows.items():
        children.setdefault(row.parent, []).append(pid)
    open_, seen = [root], {root}
    while open_:
        for pid in children.get(open_.pop(), ()):
            if pid not in seen:
                seen.add(pid)
                open_.append(pid)
                yield rows[pid].process


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to exactly this process. Harmless if it has ended or belongs to another user."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        row = read_row(process.pid)
        if row is not None and row.process == process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def become_subreaper(*, on: bool = True) -> None:
    """Let this process inherit its descendants whose parent ends, or no longer. Raise OSError if that cannot be."""
    _prctl(_SUBREAPER, int(on))


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends. Raise OSError if that cannot be."""
    _prctl(_PARENT_DEATH, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    try:
        call = ctypes.CDLL(None, use_errno=True).prctl
    except AttributeError as error:
        raise OSError("this system has no prctl") from error
    if call(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
