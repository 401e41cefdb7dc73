"""In systemd's place: `hive-harness cli` for each connection to a socket, without another uid and a control group."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

AS_UID = "TESTED_AS_UID"
"""The variable with another uid for the starters, which only root can give them."""
CODE = """
import os, sys
if uid := os.environ.get("TESTED_AS_UID"):
    import harness.cli, harness.starter.program, harness.subagents.targets  # this uid may not be able to read them
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
os.dup2(int(sys.argv[1]), 3)
sys.argv[1:] = ["cli"]
from harness.cli import main
sys.exit(main())
"""


@contextlib.asynccontextmanager
async def starter(folder: Path, **env: str) -> AsyncIterator[tuple[Path, list[subprocess.Popen[bytes]]]]:
    """Listen inside the block; yield the socket, and the starters that were started. All have ended at the end."""
    path, started = folder / "starter.sock", list[subprocess.Popen[bytes]]()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(path))
        listener.listen()

        async def serve() -> None:
            while True:
                connection, _ = await loop.sock_accept(listener)
                with connection:
                    argv = [sys.executable, "-c", CODE, str(connection.fileno())]
                    fds = (connection.fileno(),)
                    started.append(subprocess.Popen(argv, pass_fds=fds, env={**os.environ, **env}))

        task = asyncio.create_task(serve())
        try:
            yield path, started
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for process in started:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(process.wait, 5)
                process.kill()
                process.wait()
