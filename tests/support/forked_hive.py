"""`hive` as a process of its own that need not import anything: it is forked from the server of the labs.

A real `python -m api.cli.main serve` works for two seconds before its first own line. That the program as such starts,
and what it finds when it does, is for tests that start the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import reduction
from typing import Protocol

from typing_extensions import override

from tests.support.lab import FORKSERVER


class _Inherited(Protocol):
    """What multiprocessing makes of a descriptor for a child."""

    def detach(self) -> int: ...


class Descriptor:
    """A descriptor that a process which is started takes along."""

    def __init__(self, number: int) -> None:
        self.number = number

    @override
    def __reduce__(self) -> tuple[Callable[[_Inherited], int], tuple[_Inherited]]:
        return _detach, (reduction.DupFd(self.number),)


def _detach(inherited: _Inherited) -> int:
    return inherited.detach()


def _be_hive(module: str, arguments: Sequence[str], environment: Mapping[str, str], out: int, err: int) -> None:
    """Be `hive`. Runs in the child."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    # those of the server have been at another place of another file
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - to the end of the process
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    importlib.import_module(module).main(list(arguments))


class ForkedHive:
    """A running `hive`, with the face of asyncio.subprocess.Process. `module` has the function `main`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], module: str = "api.cli.main") -> None:
        with _pipe() as (self._out, out), _pipe() as (self._err, err):
            self._process = FORKSERVER.Process(
                target=_be_hive,
                args=(module, tuple(arguments), dict(environment), Descriptor(out), Descriptor(err)),
                daemon=True,  # a test that ends early must not leave pytest waiting for it
            )
            self._process.start()
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None

    @classmethod
    async def start(
        cls, arguments: Sequence[str], environment: Mapping[str, str], module: str = "api.cli.main"
    ) -> ForkedHive:
        """Start one whose output is read as streams."""
        forked = cls(arguments, environment, module)
        forked.stdout, forked.stderr = await _reader(forked._out), await _reader(forked._err)
        return forked

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        await asyncio.to_thread(self._process.join)
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read what is still written, and wait for the end."""
        assert self.stdout is not None
        assert self.stderr is not None
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err

    async def finish(self, seconds: float) -> subprocess.CompletedProcess[str]:
        """Return all that it wrote, and its exit code."""
        async with asyncio.timeout(seconds):
            out, err = await self.communicate()
        return subprocess.CompletedProcess([], self.returncode or 0, out.decode(), err.decode())


def run_hive(
    arguments: Sequence[str], environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a `hive` to its end."""

    async def run() -> subprocess.CompletedProcess[str]:
        forked = await ForkedHive.start(arguments, environment)
        try:
            return await forked.finish(seconds)
        finally:
            forked.kill()

    return asyncio.run(run())


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Yield the ends of a pipe. The one to write to is closed at the end: the child has it."""
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(write)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    """Return a stream of a pipe, which is closed at its end."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader
