"""One running CLI: its lines, its stdin, and its end with everything that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from typing_extensions import override

from harness.process import Process, start_direct
from harness.scope.bounds import Bounds, grants_of
from harness.starter.client import start_remote
from harness.starter.wire import LOGIN, TARGETS, Order
from meta.text import scrub

STARTER = "HIVE_CLI_STARTER"
"""The variable of the harness that names the starter's socket, if CLIs have another uid than the harness."""

MAX_LINE = 8 * 2**20
"""Bytes of a line that are read as a whole."""

HEAD = 64 * 1024
"""Bytes that are kept of a longer line."""

TAIL = 16 * 1024
"""Bytes of stderr that are kept."""

LADDER = ((signal.SIGTERM, 3.0),)
"""The signals that ask a CLI to end, with the seconds that it gets. SIGKILL follows."""

_CHUNK = 256 * 1024
_READ = 16 * 1024
"""Bytes that are split at a time: with a line for each byte that takes some 10 ms."""
_LINES = 64
"""Lines after which the event loop has its turn. Queued lines would hold it up until the last of them."""
_KILL_SECONDS = 10.0
_LOOK_SECONDS = 60.0
_DRAIN_SECONDS = 1.0
_DRAINS = 5
"""Drains after its end, at most: what it left behind may write to its stdout for ever."""
_MAX_UNREAD = 16 * 2**20


class Line(NamedTuple):
    """A line of stdout without its end. `dropped` counts the bytes after `data` of a line that is too long."""

    data: bytes
    dropped: int = 0


class Lines:
    """Splits bytes into lines in bounded memory."""

    def __init__(self, limit: int = MAX_LINE, head: int = HEAD) -> None:
        self._limit = limit
        self._head = head
        self._open = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> list[Line]:
        """Return the lines that `data` completes."""
        lines = []
        *ended, rest = data.split(b"\n")
        for part in ended:
            if self._open or self._dropped or len(part) > self._limit:
                self._add(part)
                lines.append(self._take())
            else:  # nearly all
                lines.append(Line(part.removesuffix(b"\r")))
        self._add(rest)
        return lines

    def finish(self) -> list[Line]:
        """Return the last line if it has no end."""
        return [self._take()] if self._open or self._dropped else []

    def _add(self, part: bytes) -> None:
        if self._dropped:
            self._dropped += len(part)
            return
        self._open += part
        if len(self._open) > self._limit:
            self._dropped = len(self._open) - self._head
            del self._open[self._head :]

    def _take(self) -> Line:
        line = Line(bytes(self._open).removesuffix(b"\r"), self._dropped)
        self._open, self._dropped = bytearray(), 0
        return line


class Child:
    """A running CLI. `end` must be called, also after it ended by itself: it reaps it and ends what it left behind."""

    def __init__(self, process: Process) -> None:
        self.pid = process.pid
        self._process = process
        self._tail = bytearray()
        self._code = -signal.SIGKILL
        self._exit = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._reader = asyncio.StreamReader(limit=_CHUNK)
        self._starved = False
        """A caller waits for a line, and there is none."""
        self._split = Lines()
        self._lines: deque[Line] = deque()
        self._returned = 0
        self._transports: list[asyncio.BaseTransport] = []
        self._pipe = _Pipe()
        self._stdin: asyncio.WriteTransport | None = None
        self._stdout: asyncio.ReadTransport = asyncio.ReadTransport()
        self._ending: asyncio.Task[int] | None = None

    @property
    def running(self) -> bool:
        """Return True until the CLI ends. What it started may outlive it until `end`."""
        return not self._exit.is_set() and self._process.code is None

    @property
    def stderr(self) -> str:
        """Return the end of what it wrote to stderr, scrubbed."""
        return scrub(bytes(self._tail)).strip()

    def write(self, data: bytes) -> bool:
        """Queue bytes for its stdin. Return False if it no longer reads, or reads too slowly to queue more."""
        stdin = self._stdin
        if stdin is None or stdin.is_closing() or stdin.get_write_buffer_size() > _MAX_UNREAD or not self.running:
            return False
        stdin.write(data)
        return True

    def close_stdin(self) -> None:
        """Send the end of its input, after what is queued."""
        if self._stdin is not None:
            self._stdin.close()

    async def line(self) -> Line | None:
        """Return its next line; None once it closed stdout, or ended and left that to others.

        A cancelled call loses nothing. One caller at a time.
        """
        if self._returned >= _LINES:
            await asyncio.sleep(0)
            self._returned = 0
        while not self._lines:
            self._starved = True
            try:
                data = await self._reader.read(_READ)
            finally:
                self._starved = False
            self._lines.extend(self._split.feed(data) if data else self._split.finish())
            if not data and not self._lines:
                return None
        self._returned += 1
        return self._lines.popleft()

    async def lines(self) -> AsyncIterator[Line]:
        """Return its lines as they come, until it closes stdout."""
        while (line := await self.line()) is not None:
            yield line

    async def wait(self) -> int:
        """Wait until it ends; return the exit code, negative for a signal."""
        await self._exit.wait()
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal. Harmless if it has ended."""
        self._process.send_signal(number)

    async def end(self, ladder: Sequence[tuple[signal.Signals, float]] = LADDER) -> int:
        """End it and every descendant; return the exit code. At most `ladder` and 20 s; a second call waits too.

        A caller that is cancelled meanwhile gets the CancelledError only once all has ended, and SIGKILL comes at once.
        """
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(ladder))
        cancelled: asyncio.CancelledError | None = None
        while not self._ending.done():
            try:
                await asyncio.shield(self._ending)
            except asyncio.CancelledError as error:
                cancelled = error
                if self.running:
                    self.send_signal(signal.SIGKILL)
        if cancelled is not None:
            raise cancelled
        return self._ending.result()

    async def connect(self) -> None:
        """Connect the pipes to the loop. Called once, by `start_child`."""
        loop = asyncio.get_running_loop()
        process = self._process
        stdin, _ = await loop.connect_write_pipe(lambda: self._pipe, process.stdin)
        self._stdin = stdin
        stdout, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._reader), process.stdout)
        stderr, _ = await loop.connect_read_pipe(lambda: _Tail(self._tail), process.stderr)
        self._stdout = stdout
        self._transports = [stdin, stdout, stderr]
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._look())]

    async def _watch(self) -> None:
        self._code = await self._process.wait()
        self._exit.set()
        for _ in range(_DRAINS):  # what it wrote before its end is still read
            await asyncio.sleep(_DRAIN_SECONDS)
            if self._starved:
                break
        self._stdout.close()  # a process that it left behind has it open

    async def _look(self) -> None:
        while True:
            self._process.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _end(self, ladder: Sequence[tuple[signal.Signals, float]]) -> int:
        self._process.look()
        self.close_stdin()
        for number, seconds in (*ladder, (signal.SIGKILL, _KILL_SECONDS)) if self.running else ():
            self.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._exit.wait()
                    break
        await self._process.finish(self._code)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in self._transports:
            transport.close()
        if self._stdin is not None and self._pipe.open:  # something is queued that nobody will read
            self._stdin.abort()
        await asyncio.sleep(0)  # the transports close their descriptors in the loop's next round
        self._exit.set()
        return self._code


class _Pipe(asyncio.BaseProtocol):
    """Knows if stdin is still open."""

    def __init__(self) -> None:
        self.open = True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False


class _Tail(asyncio.Protocol):
    """Keeps the end of stderr."""

    def __init__(self, tail: bytearray) -> None:
        self._tail = tail

    @override
    def data_received(self, data: bytes) -> None:
        self._tail += data
        del self._tail[:-TAIL]


async def start_child(
    argv: Sequence[str | Path], env: Mapping[str, str], cwd: Path, bounds: Bounds | None = None
) -> Child:
    """Start a CLI with exactly `env`, and what marks or is of its own start: by the starter if there is one.

    The kernel keeps it and all that it starts to its `bounds`. Raise Refused if that is not possible.
    Raise PermanentError if it is missing or cannot be executed, TransientError if the host lacks something now.
    """
    words = tuple(str(word) for word in argv)
    starter = os.environ.get(STARTER)
    if starter:
        order = Order(words, env, str(cwd), bounds=None if bounds is None else bounds.encode())
        return await _connected(await start_remote(Path(starter), order))
    grants = None if bounds is None else await asyncio.to_thread(grants_of, bounds)
    return await _connected(start_direct(words, env, cwd, grants))


async def start_login_watch(runtime: str, env: Mapping[str, str], home: Path) -> Child:
    """Have the starter watch a runtime's login (harness.login.look). Raise HiveError."""
    return await _connected(await start_remote(Path(os.environ[STARTER]), Order((runtime,), env, str(home), LOGIN)))


async def start_look(targets: Sequence[str], base: Path) -> Child:
    """Have the starter look where the targets of a scope lead (harness.subagents.targets). Raise HiveError."""
    return await _connected(
        await start_remote(Path(os.environ[STARTER]), Order(tuple(targets), {}, str(base), TARGETS))
    )


async def _connected(process: Process) -> Child:
    child = Child(process)
    await child.connect()
    return child
