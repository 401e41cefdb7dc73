"""Stand-ins: a child as the harness starts one, and a CLI whose login ends well."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.errors import PermanentError

CLI = (Path(__file__).parents[2] / "support" / "login" / "claude").read_text(encoding="utf-8")


@dataclass
class Line:
    """A line of stdout."""

    data: bytes


class Child:
    """As harness.child.Child: the lines of a program, its stdin, and its end."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._errors = bytearray()
        self._reading = asyncio.create_task(self._read_errors())

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def stderr(self) -> str:
        return self._errors.decode()

    def write(self, data: bytes) -> bool:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        return self.running

    async def line(self) -> Line | None:
        assert self._process.stdout is not None
        data = await self._process.stdout.readline()
        return Line(data.rstrip(b"\n")) if data else None

    async def wait(self) -> int:
        return await self._process.wait()

    async def end(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = await self._process.wait()
        await self._reading
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._errors += data


async def start_child(argv: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> Child:
    """As harness.child.start_child."""
    program = next((each for part in env["PATH"].split(":") if (each := Path(part, argv[0])).is_file()), None)
    if program is None:
        raise PermanentError(f"{argv[0]} is not installed", "install it")
    options = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, "start_new_session": True}
    return Child(await asyncio.create_subprocess_exec(program, *argv[1:], env=dict(env), cwd=cwd, **options))  # type: ignore[arg-type]
