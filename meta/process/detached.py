"""Programs that outlive the daemon: an agent's supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from meta.process.child import start
from meta.process.command_line import resolve
from meta.process.recorder import MARKER


async def spawn_detached(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    log: Path | None = None,
    ended: Callable[[str], None] = lambda _: None,
) -> int:
    """Start a program that outlives the daemon; return its pid.

    It leads its own session and has exactly `env`, never the marker, so that `Recorder.recover` leaves it alone. Its
    stdin is /dev/null; its stdout and stderr are appended to `log` (mode 0600) or thrown away. A pidfd watch on the
    loop reaps it when it ends, and calls `ended` with how: `exit status 2`, `signal SIGKILL`. If the daemon dies first,
    init inherits and reaps it.
    """
    words = tuple(str(word) for word in argv)
    variables = {key: value for key, value in env.items() if key != MARKER}
    command = resolve(words, variables.get("PATH", os.defpath))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    output = os.open(log, flags, 0o600) if log is not None else os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        process = start(command, variables, cwd, (subprocess.DEVNULL, output, output))
    finally:
        os.close(output)
    process.returncode = 0  # Popen must neither wait for it nor warn that it still runs: the pidfd watch reaps it
    loop = asyncio.get_running_loop()
    watch = os.pidfd_open(process.pid)

    def reap() -> None:
        loop.remove_reader(watch)
        with contextlib.suppress(ChildProcessError):
            result = os.waitid(os.P_PIDFD, watch, os.WEXITED | os.WNOHANG)
            if result is not None:
                ended(_end(result))
        os.close(watch)

    loop.add_reader(watch, reap)
    return process.pid


def _end(result: os.waitid_result) -> str:
    if result.si_code == os.CLD_EXITED:
        return f"exit status {result.si_status}"
    try:
        return f"signal {signal.Signals(result.si_status).name}"
    except ValueError:  # a real-time signal
        return f"signal {result.si_status}"
