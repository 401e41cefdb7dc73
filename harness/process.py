"""A CLI as a process: what harness.child needs of it, and the one that the harness starts itself, under its own uid."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Protocol

from harness.descendants import MARKER, orphans
from meta.errors import PermanentError, TransientError
from meta.process.child import start
from meta.process.command_line import resolve
from meta.process.identity import readable
from meta.process.landlock import Grants
from meta.process.spawn import PIPES, Started


class Process(Protocol):
    """A program that was started, with its pipes."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    pid: int

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    async def wait(self) -> int:
        """Wait until it ends, and return the exit code."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal. Harmless if it has ended."""

    def look(self) -> None:
        """Note what it started. Cheap: for every minute."""

    async def finish(self, code: int) -> None:
        """End every descendant, and forget the process. `code` is for one that does not end."""


class DirectProcess:
    """A child of the harness. Its descendants are found by /proc (harness.descendants)."""

    def __init__(self, process: Started, pidfd: int, marker: str) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError("started with PIPES")
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        self.pid = process.pid
        self._process = process
        self._pidfd = pidfd
        self._marker = marker

    @property
    def code(self) -> int | None:
        """Return how it ended, without reaping it; None if it runs."""
        status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if status is None:
            return None
        return int(status.si_status if status.si_code == os.CLD_EXITED else -status.si_status)

    async def wait(self) -> int:
        """Wait until it ends; return the exit code, negative for a signal."""
        await readable(self._pidfd)
        code = self.code
        return -signal.SIGKILL if code is None else code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal. Harmless if it has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._pidfd, number)

    def look(self) -> None:
        """Note the descendants that run now."""
        orphans.look()

    async def finish(self, code: int) -> None:
        """End every descendant, and reap the process."""
        await orphans.sweep(self.pid, self._marker)
        if self._process.poll() is None:  # stuck in the kernel, or it belongs to another user
            self._process.returncode = code
        orphans.remove(self.pid)
        os.close(self._pidfd)


def start_direct(
    argv: tuple[str, ...], env: Mapping[str, str], cwd: Path, grants: Grants | None = None
) -> DirectProcess:
    """Start a program with exactly `env` and a marker. Raise HiveError, as harness.child.start_child does."""
    marker = uuid.uuid4().hex
    words = resolve(argv, env.get("PATH", os.defpath))
    try:
        process = start(words, {**env, MARKER: marker}, cwd, PIPES, grants=grants)
    except ValueError as error:  # a NUL, or half of a surrogate pair
        raise PermanentError(f"cannot start {words[0]}: its arguments or its environment: {error}") from error
    orphans.add(process.pid, marker)
    try:
        return DirectProcess(process, os.pidfd_open(process.pid), marker)
    except OSError as error:
        orphans.remove(process.pid)
        process.kill()
        process.wait()
        raise TransientError(f"cannot watch a program that was started: {error.strerror}") from error
