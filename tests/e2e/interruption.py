"""What a signal does to the story of `make demo`: it ends early, and nothing that it started goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 5.0
"""Seconds after SIGTERM until SIGKILL."""
GIVE_UP = 15.0
_PAUSE = 0.05


class Interrupted(BaseException):
    """A signal asked the story to end. No `except Exception` may keep it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def code(self) -> int:
        """The exit code by which a shell knows the signal."""
        return 128 + self.number

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name


def ignore_signals() -> None:
    """Ignore every signal from now on, until `interruptible` ends: a second Ctrl-C must not stop the cleaning."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted at the first signal."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        ignore_signals()
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def running(directory: Path) -> set[int]:
    """Return the pids of the daemon, supervisors and sandboxes: their command lines name something in `directory`."""
    pids = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
                if any(os.fsencode(directory) + b"/" in word for word in words):
                    pids.add(int(entry.name))
    return pids


def end_processes(directory: Path) -> None:
    """End every process that names `directory`, and those that they still start: SIGTERM, later SIGKILL."""
    began, asked = time.monotonic(), set[int]()
    while (pids := running(directory)) and time.monotonic() - began < GIVE_UP:
        late = time.monotonic() - began > GRACE
        for pid in pids if late else pids - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= pids
        time.sleep(_PAUSE)
