"""The one caller of other programs: argument lists, a deadline, an own session, nothing left behind.

run             a command that ends: its output comes back, or one of the errors below
spawn_detached  a program that outlives the daemon (an agent's supervisor)
Recorder        what an earlier daemon left running is found again and ended
identity/alive  a process id that cannot be mistaken for a later process with the same number

PermanentError  |- ProcessFailed    the exit code was not 0; carries Completed
                `- OutputTooLarge   more output than the caller is ready to keep
TransientError  `- ProcessTimeout   the deadline passed; the whole group was ended
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from meta.errors import PermanentError, TransientError
from meta.process.identity import ProcessIdentity, alive, boot_id, identity, readable
from meta.process.recorder import MARKER, Recorder

__all__ = [
    "MARKER",
    "Completed",
    "OutputTooLarge",
    "ProcessFailed",
    "ProcessIdentity",
    "ProcessTimeout",
    "Recorder",
    "alive",
    "boot_id",
    "environment",
    "identity",
    "run",
    "spawn_detached",
]

TERM_GRACE = 2.0
"""Seconds between TERM and KILL for a command that is ended early."""

_KILL_GRACE = 10.0
_DRAIN = 1.0
"""Seconds to wait for the end of the pipes once the command itself has ended."""

_TAIL_BYTES = 16 * 1024
_LINE_BYTES = 64 * 1024
_PACKAGES = {
    "git": "git",
    "bwrap": "bubblewrap",
    "nix": "nix-bin",
    "setpriv": "util-linux",
    "prlimit": "util-linux",
}
_PRLIMIT = {
    resource.RLIMIT_AS: "as",
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_CPU: "cpu",
    resource.RLIMIT_DATA: "data",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_NPROC: "nproc",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended. `code` is negative for a signal; `stderr_tail` the last 16 KiB; `seconds` wall time."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr_tail: str
    seconds: float

    @property
    def text(self) -> str:
        """stdout as text, without the line end."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


class ProcessFailed(PermanentError):
    """The exit code was not 0."""

    def __init__(self, completed: Completed) -> None:
        lines = completed.stderr_tail.strip().splitlines()
        how = f"exit code {completed.code}" if completed.code >= 0 else f"signal {-completed.code}"
        super().__init__(f"`{_short(completed.argv)}` failed ({how}){': ' + lines[-1] if lines else ''}")
        self.completed = completed


class OutputTooLarge(PermanentError):
    """More output than the caller is ready to keep; the command was ended. `output` is what it wrote before that."""

    def __init__(self, summary: str, output: bytes = b"") -> None:
        super().__init__(summary)
        self.output = output


class ProcessTimeout(TransientError):
    """The deadline passed; the whole process group was ended."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The minimal environment of a child (PATH, HOME=/nonexistent, LANG=C.UTF-8) with `extra` on top."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": "/nonexistent", "LANG": "C.UTF-8", **(extra or {})}


async def run(
    argv: Sequence[str | Path],
    *,
    deadline: float,
    recorder: Recorder | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    stdio: tuple[int, int] | None = None,
    pass_fds: Sequence[int] = (),
    limits: Mapping[int, int] | None = None,
    output_limit: int = 16 * 2**20,
    on_start: Callable[[], object] | None = None,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
) -> Completed:
    """Run a command to its end and return what it said.

    `deadline` is in seconds from now; `env` is laid over the minimal environment; `stdin` None is /dev/null;
    `stdio` are descriptors that become stdin and stdout instead; they stay the caller's to close; `limits` maps
    RLIMIT_* to a value (bytes, seconds); `output_limit` bounds stdout in bytes; `on_start` is called once the program
    runs (the place to close the caller's copies of descriptors); `on_line` gets each line of stderr without its end.
    With `check` a code other than 0 raises ProcessFailed.

    The command leads its own session. On timeout, cancellation or any error its whole group gets TERM, then KILL,
    and is awaited; group members that outlive a command which ended by itself are killed too.
    Raises ProcessFailed, ProcessTimeout, OutputTooLarge; PermanentError when the program is not installed.
    """
    words = tuple(str(word) for word in argv)
    variables = environment(env)
    command = _limited(_resolve(words, variables["PATH"]), limits, variables["PATH"])
    begun = time.monotonic()
    with _recorded(recorder, words, variables) as started:
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        streams = (source, subprocess.PIPE, subprocess.PIPE) if stdio is None else (*stdio, subprocess.PIPE)
        child = _Child(_start(command, variables, cwd, streams, pass_fds))
        try:
            started(child.pid)
            if on_start is not None:
                on_start()
            async with asyncio.timeout(deadline):
                await child.talk(stdin, output_limit, on_line)
        except TimeoutError as error:
            tail = child.tail()
            raise ProcessTimeout(f"`{_short(words)}` did not end within {deadline:g} s", tail[-500:]) from error
        finally:
            code = await child.finish()
    completed = Completed(words, code, bytes(child.stdout), child.tail(), time.monotonic() - begun)
    if check and code != 0:
        raise ProcessFailed(completed)
    return completed


async def spawn_detached(
    argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None, log: Path | None = None
) -> int:
    """Start a program that outlives the daemon; returns its pid.

    It leads its own session, has exactly `env` (never the marker, so `Recorder.recover` leaves it alone), stdin from
    /dev/null, stdout and stderr appended to `log` (0600) or thrown away. It stays a child of the daemon: a pidfd watch
    on the loop reaps it when it ends; when the daemon dies first, init inherits and reaps it.
    """
    words = tuple(str(word) for word in argv)
    variables = {key: value for key, value in env.items() if key != MARKER}
    command = _resolve(words, variables.get("PATH", os.defpath))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    output = os.open(log, flags, 0o600) if log is not None else os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        process = _start(command, variables, cwd, (subprocess.DEVNULL, output, output))
    finally:
        os.close(output)
    process.returncode = 0  # Popen must neither wait for it nor warn that it still runs: the pidfd watch reaps it
    loop = asyncio.get_running_loop()
    watch = os.pidfd_open(process.pid)

    def reap() -> None:
        loop.remove_reader(watch)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, watch, os.WEXITED | os.WNOHANG)
        os.close(watch)

    loop.add_reader(watch, reap)
    return process.pid


def _short(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _resolve(argv: tuple[str, ...], path: str) -> tuple[str, ...]:
    found = shutil.which(argv[0], path=path)
    if found is not None:
        return (found, *argv[1:])
    name = Path(argv[0]).name
    package = _PACKAGES.get(name)
    hint = f"on Debian: apt-get install {package}" if package else f"install {name}, or put it on PATH"
    raise PermanentError(f"the program {argv[0]} is not installed", hint)


def _limited(argv: tuple[str, ...], limits: Mapping[int, int] | None, path: str) -> tuple[str, ...]:
    """`argv` under prlimit, which execs it: limits set in a forked child of a threaded process can deadlock."""
    if not limits:
        return argv
    options = tuple(f"--{_PRLIMIT[which]}={value}" for which, value in limits.items())
    return _resolve(("prlimit", *options, "--", *argv), path)


def _start(
    argv: tuple[str, ...],
    env: Mapping[str, str],
    cwd: Path | None,
    streams: tuple[int, int, int],
    fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    stdin, stdout, stderr = streams
    try:
        return subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=fds, start_new_session=True
        )
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
            raise TransientError(f"cannot start `{_short(argv)}` now: {error.strerror}") from error
        where = f" in {cwd}" if cwd else ""
        raise PermanentError(f"cannot start `{_short(argv)}`{where}: {error.strerror}") from error


async def _chunks(pipe: IO[bytes]) -> AsyncIterator[bytes]:
    fd = pipe.fileno()
    os.set_blocking(fd, False)
    while True:
        await readable(fd)
        chunk = os.read(fd, 65536)
        if not chunk:
            return
        yield chunk


class _Child:
    """One running command: its pipes, its group, its end. The leader stays unreaped until `finish`, so that its
    number cannot belong to anybody else while the group is signalled."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)
        self._stderr = bytearray()
        self.pid = process.pid
        self.stdout = bytearray()

    def tail(self) -> str:
        return bytes(self._stderr).decode("utf-8", "replace")

    async def talk(self, stdin: bytes | None, output_limit: int, on_line: Callable[[str], None] | None) -> None:
        """Feed and read the command until it has ended; the first error of any part is raised."""
        pipes = [
            asyncio.ensure_future(self._feed(stdin or b"")),
            asyncio.ensure_future(self._read_stdout(output_limit)),
            asyncio.ensure_future(self._read_stderr(on_line)),
        ]
        ended = asyncio.ensure_future(self._ended(pipes))
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
        """End what is left of the group, reap, close; returns the exit code. A cancellation only makes it faster."""
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
        except TimeoutError as error:  # stuck in the kernel, on a dead disk say
            self._process.returncode = -signal.SIGKILL
            raise TransientError(f"pid {self.pid} does not end although it was killed") from error
        return self._process.wait()

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _ended(self, pipes: Sequence[asyncio.Future[None]]) -> None:
        await readable(self._pidfd)
        self._signal(signal.SIGKILL)  # leftovers of the group would hold the pipes open
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
                summary = f"`{_short(self._words())}` wrote more than {limit} bytes"
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

    def _words(self) -> Sequence[str]:
        args = self._process.args
        return [str(word) for word in args] if isinstance(args, list | tuple) else [str(args)]


@contextlib.contextmanager
def _recorded(
    recorder: Recorder | None, argv: tuple[str, ...], variables: dict[str, str]
) -> Iterator[Callable[[int], None]]:
    """Add the marker to `variables` and keep a record while the block runs; yields what notes the pid."""
    if recorder is None:
        yield lambda pid: None
        return
    variables.update(recorder.environment())
    with recorder.record(argv) as started:
        yield started
