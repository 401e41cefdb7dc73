"""One running command: its pipes, its process group, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from meta.errors import PermanentError, TransientError
from meta.process.command_line import shorten
from meta.process.identity import readable
from meta.process.landlock import Grants
from meta.process.spawn import Started, spawn

TERM_GRACE = 2.0
"""Seconds between TERM and KILL for a command that is ended early."""

_KILL_GRACE = 10.0
"""Seconds to wait for the end of a command that was killed."""

_DRAIN = 1.0
"""Seconds to wait for the end of the pipes once the command itself has ended."""

_TAIL_BYTES = 16 * 1024
_LINE_BYTES = 64 * 1024
_log = logging.getLogger(__name__)


class OutputTooLarge(PermanentError):
    """The command wrote more than its caller keeps, and was ended. `output` is what it wrote before that."""

    def __init__(self, summary: str, output: bytes = b"") -> None:
        super().__init__(summary)
        self.output = output


def start(
    argv: tuple[str, ...],
    env: Mapping[str, str],
    cwd: Path | None,
    streams: tuple[int, int, int],
    fds: Sequence[int] = (),
    grants: Grants | None = None,
) -> Started:
    """Start a program as the leader of a session of its own, with `grants` kept to these paths.

    Raise TransientError if the host lacks memory, processes or descriptors now, PermanentError for any other reason.
    """
    try:
        return spawn(argv, env, cwd, streams, fds, grants)
    except OSError as error:
        raise cannot_start(argv, cwd, error) from error


def cannot_start(argv: Sequence[str], cwd: Path | None, error: OSError) -> TransientError | PermanentError:
    """Return the error of a program that cannot be started, by what the kernel said."""
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return TransientError(f"cannot start `{shorten(argv)}` now: {error.strerror}")
    if error.filename is not None and str(error.filename) not in (argv[0], str(cwd)):  # of the grants
        return TransientError(f"cannot start `{shorten(argv)}` now: {error.filename}: {error.strerror}")
    where = f" in {cwd}" if cwd else ""
    return PermanentError(f"cannot start `{shorten(argv)}`{where}: {error.strerror}")


def _watch(process: Started) -> int:
    try:
        return os.pidfd_open(process.pid)
    except OSError as error:
        os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()
        raise TransientError(f"cannot watch a program that was started: {error.strerror}") from error


async def _chunks(pipe: IO[bytes]) -> AsyncIterator[bytes]:
    fd = pipe.fileno()
    os.set_blocking(fd, False)
    while True:
        await readable(fd)
        chunk = os.read(fd, 65536)
        if not chunk:
            return
        yield chunk


class Child:
    """One running command. Its group may be signalled until `finish`, which reaps the leader.

    Until it is reaped, no other process can get its number.
    """

    def __init__(self, process: Started) -> None:
        """Watch `process`. Raise TransientError, and end it, if there is no descriptor to watch it by."""
        self._process = process
        self._pidfd = _watch(process)
        self._stderr = bytearray()
        self.pid = process.pid
        self.stdout = bytearray()

    def tail(self) -> str:
        """Return the last 16 KiB of stderr."""
        return bytes(self._stderr).decode("utf-8", "replace")

    async def communicate(self, stdin: bytes | None, output_limit: int, on_line: Callable[[str], None] | None) -> None:
        """Write `stdin`, read stdout and stderr until the command has ended. Raise the first error of any of these."""
        pipes = [
            asyncio.ensure_future(self._feed(stdin or b"")),
            asyncio.ensure_future(self._read_stdout(output_limit)),
            asyncio.ensure_future(self._read_stderr(on_line)),
        ]
        ended = asyncio.ensure_future(self._await_end(pipes))
        tasks = [*pipes, ended]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def finish(self) -> int:
        """End what is left of the group, reap it, close the pipes; return the exit code.

        A cancellation during this kills the group at once.
        """
        ending = asyncio.ensure_future(self._end())
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError as error:
                cancelled = error
                self._signal(signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        os.close(self._pidfd)
        if cancelled is not None:
            raise cancelled
        return ending.result()

    async def _end(self) -> int:
        if not self._has_ended():
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TERM_GRACE):
                    await readable(self._pidfd)
        self._signal(signal.SIGKILL)
        try:
            async with asyncio.timeout(_KILL_GRACE):
                await readable(self._pidfd)
        except TimeoutError as error:  # stuck in the kernel, for example on a dead disk
            self._process.returncode = -signal.SIGKILL
            raise TransientError(f"pid {self.pid} does not end although it was killed", "is its disk dead?") from error
        return self._process.wait()

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _await_end(self, pipes: Sequence[asyncio.Future[None]]) -> None:
        await readable(self._pidfd)
        self._signal(signal.SIGKILL)  # what remains of the group would keep the pipes open
        await asyncio.wait(pipes, timeout=_DRAIN)
        for pipe in pipes:
            pipe.cancel()

    async def _feed(self, data: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        fd, loop, rest = pipe.fileno(), asyncio.get_running_loop(), memoryview(data)
        os.set_blocking(fd, False)
        ready = asyncio.Event()
        loop.add_writer(fd, ready.set)
        try:
            while rest:
                await ready.wait()
                ready.clear()
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(fd, rest[:65536]) :]
        except BrokenPipeError as error:
            _log.debug("pid %d did not read all of its input: %s", self.pid, error)
        finally:
            loop.remove_writer(fd)
        pipe.close()

    async def _read_stdout(self, limit: int) -> None:
        if self._process.stdout is None:
            return
        async for chunk in _chunks(self._process.stdout):
            self.stdout += chunk
            if len(self.stdout) > limit:
                summary = f"`{shorten(self._argv())}` wrote more than {limit} bytes"
                raise OutputTooLarge(summary, bytes(self.stdout[:limit]))

    async def _read_stderr(self, on_line: Callable[[str], None] | None) -> None:
        if self._process.stderr is None:
            return
        open_line = b""
        async for chunk in _chunks(self._process.stderr):
            self._stderr += chunk
            del self._stderr[:-_TAIL_BYTES]
            if on_line is not None:
                *lines, open_line = (open_line + chunk).split(b"\n")
                for line in lines:
                    on_line(line.decode("utf-8", "replace"))
                open_line = open_line[-_LINE_BYTES:]
        if on_line is not None and open_line:
            on_line(open_line.decode("utf-8", "replace"))

    def _argv(self) -> Sequence[str]:
        args = self._process.args
        return [str(word) for word in args] if isinstance(args, list | tuple) else [str(args)]
