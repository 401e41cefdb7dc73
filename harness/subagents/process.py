"""A sub-agent's process: start it, see its end, and end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from harness.keeper.client import keeper
from harness.own_command import own_command
from meta.errors import TransientError
from meta.process.identity import ProcessIdentity, identity, open_pidfd, readable
from meta.process.spawn import NOTHING, Started, spawn

POD = "HIVE_POD"
"""The variable with the name of a sub-agent, in the environment of its process."""
END_SECONDS = 5.0
"""Seconds that a sub-agent has to end by itself, and again after SIGTERM."""
STDERR_BYTES = 4096


class PodProcess:
    """One running sub-agent. It may have been started by an earlier harness."""

    def __init__(self, which: ProcessIdentity, pidfd: int, started: Started | None = None) -> None:
        self.identity = which
        self._pidfd = pidfd
        self._exit = asyncio.ensure_future(readable(pidfd))  # one waits for the descriptor, all others for that
        self._started = started
        """None: an earlier harness started it, and the keeper reaps it."""

    async def wait(self) -> None:
        """Wait until it ends."""
        await asyncio.shield(self._exit)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal. Harmless if it has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError, OSError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def end(self) -> None:
        """End it: it is asked first. Return after at most three times END_SECONDS."""
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await self.wait()
                    break

    def close(self) -> None:
        """Reap it if it was started here and has ended, and close what is open. Call it once."""
        self._exit.cancel()
        if self._started is not None and self._started.poll() is None:  # it lives on: the keeper reaps it
            self._started.returncode = 0
        os.close(self._pidfd)


def start_pod(name: str, env: Mapping[str, str], log: Path) -> PodProcess:
    """Start a sub-agent as the leader of a session of its own. Its output goes to `log`. Raise TransientError."""
    try:
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as output:
            streams = (NOTHING, output.fileno(), output.fileno())
            variables = {**env, **keeper.variables, POD: name}
            started = spawn((*own_command(), "pod"), variables, None, streams, keeper.fds)
        keeper.keep(started.pid)
        return PodProcess(identity(started.pid), os.pidfd_open(started.pid), started)
    except (OSError, ValueError) as error:
        raise TransientError(f"the pod {name} cannot be started: {error}", "try again") from error


def find_pod(which: ProcessIdentity) -> PodProcess | None:
    """Return a sub-agent of an earlier harness; None if it has ended. Raise OSError for a failure of the host."""
    pidfd = open_pidfd(which)
    return None if pidfd is None else PodProcess(which, pidfd)


def last_words(log: Path) -> str:
    """Return the end of what a sub-agent wrote."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - STDERR_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
