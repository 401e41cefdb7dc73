"""A daemon of a tree of hive, in its own environment, with agents on the fake backend."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.lines import Caller, caller, line

HERE = Path(__file__).parents[3]
BASELINE = HERE / "build/baseline"
SETTINGS = {"HIVE_RESYNC": "600", "HIVE_HEALTH_STABLE": "0"}
START_SECONDS = 60.0
QUIET_SHARE = 0.02
"""The share of a core below which a daemon has nothing more to do."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that runs. `folder` has its state in `s` and its sockets in `r`."""

    process: subprocess.Popen[bytes]
    folder: Path

    def cpu(self) -> float:
        """Return the seconds of CPU that it used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def agent(self, name: str) -> Caller:
        """Connect as an agent. Both trees have the same sockets and the same wire."""
        folder = self.folder / "r" / ("manager" if name == "manager" else f"agents/{name}")
        return await caller(folder / "mcp.sock")

    async def quiet(self) -> None:
        """Wait until it has nothing more to do."""
        deadline = time.monotonic() + START_SECONDS
        before = self.cpu()
        while time.monotonic() < deadline:
            await asyncio.sleep(1)
            now = self.cpu()
            if now - before < QUIET_SHARE:
                return
            before = now


@contextlib.asynccontextmanager
async def daemon(tree: Path, names: list[str]) -> AsyncIterator[Daemon]:
    """Serve the tree's hive with these agents in the block."""
    folder = Path(tempfile.mkdtemp(prefix="hb"))
    words = ["serve", "--backend", "fake", "--unsafe-no-isolation", "--state", str(folder / "s")]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HIVE_", "PYTHON"))}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(tree / ".venv/bin/hive"), *words, "--runtime", str(folder / "r")],
            cwd=tree,
            env={**env, **SETTINGS},
            stdout=log,
            stderr=log,
        )
    made = Daemon(process, folder)
    try:
        await _until(lambda: (folder / "r/host.sock").exists())
        host = await caller(folder / "r/host.sock")
        for name in names:
            answer = json.loads(await host.call(line(cmd="spawn", name=name)))
            assert answer["ok"], answer
        host.close()
        await _until(lambda: all((folder / "r/agents" / name / "mcp.sock").exists() for name in names))
        await made.quiet()
        yield made
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


async def _until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not look():
        assert time.monotonic() < deadline, "the daemon is not ready"
        await asyncio.sleep(0.05)
