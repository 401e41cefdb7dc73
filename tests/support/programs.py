"""Small programs that tests start."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

OWNER = f"tests-{os.getpid()}"
"""A hive of this test process alone: recovery ends what any process of the machine left for its owner."""
WRITES_PID_THEN_HANGS = """
import os, pathlib, signal, sys
if len(sys.argv) > 2: signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()}\\n")
signal.pause()
while True: signal.pause()
"""

FORKS_THEN = """
import os, pathlib, signal, sys
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()}\\n")
    while True: signal.pause()
"""


def python(code: str, *words: str) -> list[str]:
    """Return the argument list that runs `code`."""
    return [sys.executable, "-c", code, *words]


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Run the loop until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.to_thread(os.sched_yield)


def started_pid(path: Path) -> int | None:
    """Return the pid that a program wrote to `path`; None before that."""
    return int(path.read_text()) if path.exists() and path.read_text().endswith("\n") else None
