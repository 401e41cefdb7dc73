"""A CLI that the starter runs for the harness (implements harness.process.Process)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO

from typing_extensions import override

from harness.starter.wire import LINE_MOST, MARK, Json, Order, Wrong, decode, encode
from meta.errors import HiveError, PermanentError, Refused, TransientError
from meta.process.child import cannot_start
from meta.process.command_line import not_installed
from meta.text import one_line

log = logging.getLogger(__name__)

START_SECONDS = 30.0
"""Seconds until the starter reports a start. systemd starts a program for it first."""
GONE_SECONDS = 10.0
"""Seconds that the processes of a control group get to end, after systemd killed them."""
UNIT = "hive-cli@"

_GROUPS = Path("/sys/fs/cgroup")
_PAUSE = 0.02
_REMEDY = "look at `journalctl -u 'hive-cli@*'` in the container"


class RemoteProcess:
    """A CLI that runs, behind a connection to its starter. What the starter says is bounded: it has the CLI's uid."""

    def __init__(self, streams: tuple[IO[bytes], IO[bytes], IO[bytes]]) -> None:
        self.stdin, self.stdout, self.stderr = streams
        self.pid = 0
        self.code: int | None = None
        self._group = ""
        self._transport: asyncio.Transport | None = None
        self._report: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()

    def look(self) -> None:
        """Do nothing: systemd knows what belongs to the CLI."""

    async def wait(self) -> int:
        """Wait until the CLI ends; return the exit code, negative for a signal."""
        await self._ended.wait()
        return -signal.SIGKILL if self.code is None else self.code

    def send_signal(self, number: signal.Signals) -> None:
        """Have the starter send a signal. Harmless if the CLI has ended."""
        if self._transport is not None and not self._transport.is_closing() and self.code is None:
            self._transport.write(encode({"signal": int(number)}))

    async def finish(self, code: int) -> None:
        """Disconnect, so that systemd kills everything that the CLI started, and wait until that has ended."""
        await self._disconnect()
        if self.code is None:
            self.code = code
        self._ended.set()
        if self._group and not await _until_gone(self._group):
            log.warning("processes that a CLI left behind do not end")

    async def begin(self, connection: socket.socket, argv: tuple[str, ...], cwd: Path) -> None:
        """Follow the connection, and wait for the report of the start. Raise HiveError if there is none."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_accepted_socket(lambda: _Reports(self.report, self.lost), connection)
        try:
            async with asyncio.timeout(START_SECONDS):
                report = await self._report
            if "failed" in report or "refused" in report:
                raise _failure(report, argv, cwd)
        except TimeoutError as error:
            await self._disconnect()
            raise TransientError("the starter of CLIs does not answer", _REMEDY) from error
        except BaseException:
            await self._disconnect()
            raise
        pid, group = report.get("pid"), report.get("cgroup")
        self.pid = pid if isinstance(pid, int) and pid > 0 else 0
        if isinstance(group, str) and f"/{UNIT}" in group and ".." not in group and len(group) < LINE_MOST:
            self._group = group

    async def _disconnect(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            await asyncio.sleep(0)  # it closes its descriptor in the loop's next round

    def report(self, value: Json) -> None:
        """Take a line of the starter: the start first, then the end."""
        if not self._report.done():
            self._report.set_result(value)
        elif self.code is None and "code" in value:
            code = value["code"]
            self.code = code if isinstance(code, int) and -64 <= code <= 255 else -signal.SIGKILL
            self._ended.set()

    def lost(self) -> None:
        """Note that the connection ended: the starter is gone, and the CLI with it."""
        if not self._report.done():
            self._report.set_exception(TransientError("the starter of CLIs started nothing", _REMEDY))
        if self.code is None:
            self.code = -signal.SIGKILL
        self._ended.set()


class _Reports(asyncio.Protocol):
    """Splits what the starter writes into lines."""

    def __init__(self, report: Callable[[Json], None], lost: Callable[[], None]) -> None:
        self._report = report
        self._lost = lost
        self._data = bytearray()
        self._transport: asyncio.BaseTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        *lines, self._data = (self._data + data).split(b"\n")
        try:
            for line in lines:
                self._report(decode(bytes(line)))
            if len(self._data) > LINE_MOST:
                raise Wrong("a long line")
        except Wrong as error:
            log.warning("the starter of CLIs wrote something else: %s", error)
            if isinstance(self._transport, asyncio.Transport):
                self._transport.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()


async def start_remote(starter: Path, order: Order) -> RemoteProcess:
    """Have the starter that listens at `starter` do an order. Raise HiveError, as harness.child.start_child does."""
    argv, cwd = order.argv, Path(order.cwd)
    try:
        line = order.encode()
    except ValueError as error:
        raise PermanentError(f"cannot start {argv[0]}: its arguments or its environment: {error}") from error
    with contextlib.ExitStack() as stack:
        try:
            ours, theirs = _pipes(stack)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            raise cannot_start(argv, cwd, error) from error
        with contextlib.ExitStack() as closed:
            closed.callback(connection.close)
            await _order(connection, starter, line, theirs)
            process = RemoteProcess(ours)
            closed.pop_all()  # from here on the transport closes it
            await process.begin(connection, argv, cwd)
        _keep(stack, theirs)
    return process


def _pipes(stack: contextlib.ExitStack) -> tuple[tuple[IO[bytes], IO[bytes], IO[bytes]], list[int]]:
    """Return the harness's ends of three pipes and the CLI's. `stack` closes all of them."""
    ours, theirs = [], []
    for ours_writes in (True, False, False):
        reader, writer = os.pipe()
        mine, other = (writer, reader) if ours_writes else (reader, writer)
        ours.append(stack.enter_context(open(mine, "wb" if ours_writes else "rb", buffering=0)))  # noqa: PTH123, SIM115
        stack.callback(_close, other)
        os.fchmod(other, 0o666)  # else the CLI, which has another uid, cannot open /dev/stdin, /dev/stdout, /dev/stderr
        theirs.append(other)
    return (ours[0], ours[1], ours[2]), theirs


def _keep(stack: contextlib.ExitStack, theirs: list[int]) -> None:
    """Close the CLI's ends only: those of the harness live on."""
    stack.pop_all()
    for fd in theirs:
        _close(fd)


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


async def _order(connection: socket.socket, starter: Path, line: bytes, fds: list[int]) -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(connection, str(starter))
        socket.send_fds(connection, [MARK], fds)
        async with asyncio.timeout(START_SECONDS):
            await loop.sock_sendall(connection, line)
    except (OSError, TimeoutError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it does not read"
        raise TransientError(f"the starter of CLIs cannot be reached: {reason}", _REMEDY) from error


def _failure(report: Json, argv: tuple[str, ...], cwd: Path) -> HiveError:
    if "refused" in report:
        return Refused(one_line(str(report["refused"])), one_line(str(report.get("hint", ""))))
    if report.get("missing") is True:
        return not_installed(argv[0])
    number = getattr(errno, str(report["failed"]), errno.EIO)
    number = number if isinstance(number, int) else errno.EIO
    return cannot_start(argv, cwd, OSError(number, os.strerror(number)))


async def _until_gone(group: str) -> bool:
    """Wait until a control group has no process. Return False after GONE_SECONDS."""
    events = _GROUPS / group.lstrip("/") / "cgroup.events"
    deadline = asyncio.get_running_loop().time() + GONE_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        try:
            if "populated 0" in events.read_text(encoding="ascii"):
                return True
        except OSError:  # systemd removed it
            return True
        await asyncio.sleep(_PAUSE)
    return False
