"""A stand-in for hive's two sockets, and the real `hive-harness` driven through them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.connect import LINE_LIMIT
from meta.wire.agent import (
    AckTurn,
    EmptyResponse,
    ErrResponse,
    MessageResponse,
    OkResponse,
    Recv,
    RequeueInflight,
    Send,
    StatusResponse,
)
from meta.wire.codec import decode, encode
from meta.wire.common import Wire
from meta.wire.link import (
    UP,
    About,
    Control,
    Done,
    DownLine,
    Drain,
    Event,
    Follow,
    Hello,
    Hold,
    PodReport,
    Pods,
    Probe,
    Release,
    Released,
    Resume,
    ShutdownRequest,
    State,
    TurnState,
    UpLine,
    Verb,
)
from meta.wire.manager import MANAGER_REQUEST, RequestApplyCommit
from tests.harness.inside import Inside

DEADLINE = 20.0
"""Seconds before a test gives up waiting for what should take milliseconds."""


class FakeHive:
    """Both sockets of one agent. Everything that happens is noted, and `until` waits for it."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.hellos: list[Hello] = []
        self.states: list[State] = []
        self.abouts: list[About] = []
        self.done: list[Done] = []
        self.releases: list[int] = []
        self.given_back: list[tuple[int, ...] | None] = []
        """What each release named."""
        self.releasing = True
        self.ignored = 0
        """Releases that were not answered."""
        self.hold: Hold | None = Hold(releases=True)
        """The first line after a hello. None: this hive is older."""
        self.breaking = self.broken = self.mute = False
        self.events: list[Event] = []
        self.pods: list[Pods] = []
        self.reports: list[dict[str, Any]] = []
        self.shutdowns = 0
        self.follow: int | None = None
        """The id after which the events are wanted; None: they are not asked for."""
        self.links = 0
        self.lost = 0
        self.calls: list[Wire] = []
        self.sent: list[tuple[str, str]] = []
        self.proposed: list[RequestApplyCommit] = []
        self.acks = 0
        self.acked: list[int] = []
        self.dead: list[int] = []
        self.refuse: dict[str, str] = {}
        self.probing = True
        self.draining = False
        self._queue: list[MessageResponse] = []
        self._inflight: list[MessageResponse] = []
        self._ids = 0
        self._last: int | None = None
        self._returns: Counter[int] = Counter()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._link: asyncio.StreamWriter | None = None
        self._changed = asyncio.Condition()

    # for tests
    async def open(self) -> None:
        """Listen, replacing stale socket files."""
        for name, serve in (("mcp.sock", self._broker), ("harness.sock", self._harness)):
            (self.run / name).unlink(missing_ok=True)
            self._servers.append(
                await asyncio.start_unix_server(self._accept(serve), self.run / name, limit=LINE_LIMIT)
            )

    async def close(self) -> None:
        """Die as a daemon does: connections break, what was handed out stays in flight."""
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._servers.clear()

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until `what()` is true."""
        async with asyncio.timeout(DEADLINE), self._changed:
            await self._changed.wait_for(what)

    async def post(self, sender: str, body: str) -> int:
        """Put a message into the inbox; returns its id."""
        self._ids += 1
        self._queue.append(MessageResponse(sender=sender, body=body, id=self._ids))
        await self._note()
        return self._ids

    async def order(self, line: DownLine) -> None:
        """Send one line down the link."""
        if isinstance(line, Drain | Resume):
            self.draining = isinstance(line, Drain)
            await self._note()
        await self.say(line)

    async def say(self, line: DownLine) -> None:
        """Send one line down the link, and let the inbox know nothing of it."""
        await self.raw(encode(line) + b"\n")

    async def raw(self, data: bytes) -> None:
        """Send anything down the link."""
        assert self._link is not None
        self._link.write(data)
        await self._link.drain()

    async def control(self, verb: Verb, text: str = "") -> Done:
        """Ask for something, as an operator does; return the answer."""
        id = f"c{len(self.done)}-{verb}"
        await self.order(Control(id=id, verb=verb, text=text))
        await self.until(lambda: any(done.id == id for done in self.done))
        return next(done for done in self.done if done.id == id)

    @property
    def turn(self) -> TurnState | None:
        """The last state that was reported."""
        return self.states[-1].state if self.states else None

    @property
    def waiting(self) -> int:
        """Messages that nobody took yet."""
        return len(self._queue)

    # the sockets
    def _accept(
        self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with contextlib.suppress(ConnectionError):
                    await serve(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(session(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return accept

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _harness(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links += 1
        self._link = writer
        await self._note()
        try:
            while line := await reader.readline():
                said = decode(UP, line)
                if isinstance(said, Hello):
                    self.hellos.append(said)
                    if self.hold is not None:
                        await self.say(self.hold)
                    if self.probing:
                        await self.order(Probe(probe=len(self.hellos)))
                    if self.follow is not None:
                        await self.say(Follow(after=self.follow))
                else:
                    await self._hear(said)
                await self._note()
        finally:
            self.lost += 1
            await self._note()

    async def _hear(self, said: UpLine) -> None:
        match said:
            case State():
                self.states.append(said)
            case About():
                self.abouts.append(said)
            case Done():
                self.done.append(said)
            case Release():
                await self._release(said)
            case Event():
                self.events.append(said)
            case Pods():
                self.pods.append(said)
            case PodReport():
                self.reports.append(said.event)
            case ShutdownRequest():
                self.shutdowns += 1

    async def _release(self, asked: Release) -> None:
        if not self.releasing:
            self.ignored += 1
            return
        self.releases.append(asked.turn)
        only = None if self.hold is None else asked.only
        self.given_back.append(only)
        self._last = next((id for id in only or () if self._returns[id]), None)
        self._again([message for message in self._inflight if only is None or message.id in only])
        await self.say(Released(turn=asked.turn, only=only))

    def _again(self, messages: list[MessageResponse]) -> None:
        self._inflight = [message for message in self._inflight if message not in messages]
        again = [message.model_copy(update={"redelivered": True}) for message in messages]
        self._queue = sorted([*again, *self._queue], key=lambda message: message.id)

    async def _broker(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = decode(MANAGER_REQUEST, line)
            self.calls.append(request)
            await self._note()
            answer = await self._answer(request)
            if self.mute:
                continue
            if self.breaking and isinstance(answer, MessageResponse):
                self.breaking, self.broken = False, True  # die between the delivery and its answer
                return
            writer.write(encode(answer) + b"\n")
            await writer.drain()

    async def _answer(self, request: Wire) -> Wire:
        match request:
            case Recv(wait_seconds=seconds):
                return await self._take(seconds)
            case AckTurn():
                self.acked += [message.id for message in self._inflight]
                self._inflight.clear()
                self.acks += 1
            case RequeueInflight():
                self._returns.update(message.id for message in self._inflight)
                self.dead += [message.id for message in self._inflight if self._returns[message.id] >= 3]
                self._again([message for message in self._inflight if self._returns[message.id] < 3])
                self._inflight.clear()
            case Send(to=to, body=body):
                if to in self.refuse:
                    return ErrResponse(message=self.refuse[to])
                self.sent.append((to, body))
            case RequestApplyCommit():
                self.proposed.append(request)
            case _:
                return StatusResponse(unread=len(self._queue))
        await self._note()
        return OkResponse()

    async def _take(self, seconds: int | None) -> Wire:
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(30 if seconds is None else seconds):
                    await self._changed.wait_for(lambda: self._queue or self.draining)
            if self.draining or not self._queue:
                return EmptyResponse()
            message = min(self._queue, key=lambda message: (message.id == self._last, message.id))
            if self._must_wait(message.id):
                return EmptyResponse()
            self._last = None
            self._queue.remove(message)
            self._inflight.append(message)
            return message

    def _must_wait(self, id: int) -> bool:
        """Return True for a delivery beside another one, if a message of the two has a failed turn."""
        return bool(self._inflight) and any(self._returns[each] for each in (id, *(m.id for m in self._inflight)))


class Harness:
    """One container's worth of directories, and the processes started in it."""

    def __init__(self, base: Path) -> None:
        self.run = base / "run"
        self.config = base / "config"
        self.agents = base / "agents"
        for path in (self.run, self.config, self.agents):
            path.mkdir()
        self.role = "agent"
        self.state = self.run
        self.around: tuple[str, ...] = ()
        """The words before the program, such as those of bubblewrap."""
        self.program: tuple[str, ...] = (str(Path(sys.executable).parent / "hive-harness"), "serve")
        self.stdin: int | None = None
        self.process: Process | None = None
        self.log = ""

    def configure(self, text: str) -> None:
        """Write agent.toml."""
        (self.config / "agent.toml").write_text(text, encoding="utf-8")

    async def start(self, generation: str = "a" * 20, nonce: str = "n1") -> Process:
        """Start the real program."""
        self.process = await asyncio.create_subprocess_exec(
            *self.around,
            *self.program,
            env={
                "PATH": os.environ["PATH"],
                "HIVE_AGENT": "manager" if self.role == "manager" else "alice",
                "HIVE_ROLE": self.role,
                "HIVE_GENERATION": generation,
                "HIVE_BOOT_NONCE": nonce,
                "HIVE_CONFIG": str(self.config),
                "HIVE_RUN": str(self.run),
                "HIVE_STATE": str(self.state),
                "HIVE_AGENTS": str(self.agents),
            },
            stdin=self.stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self.process

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end; `log` has what was written then."""
        assert self.process is not None
        async with asyncio.timeout(DEADLINE):
            output, _ = await self.process.communicate()
        self.log += output.decode()
        assert self.process.returncode is not None
        return self.process.returncode

    async def cleanup(self) -> None:
        """Leave no process behind."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.communicate()


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory whose path is short enough for the name of a socket."""
    path = Path(tempfile.mkdtemp(prefix="hh-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def harness(base: Path) -> AsyncIterator[Harness]:
    """A harness that is not started yet, with the rules that a new agent has."""
    harness = Harness(base)
    harness.configure('[[script]]\nwhen = "ping"\nreply = "pong"\n')
    yield harness
    await harness.cleanup()


@pytest.fixture
async def absent(harness: Harness) -> AsyncIterator[FakeHive]:
    """A hive that does not listen yet."""
    hive = FakeHive(harness.run)
    yield hive
    await harness.cleanup()
    await hive.close()


@pytest.fixture
async def hive(absent: FakeHive) -> FakeHive:
    """A hive that listens."""
    await absent.open()
    return absent


@pytest.fixture
def inside(harness: Harness) -> Inside:
    """A harness in the test's process, that is not started yet."""
    return Inside(harness.run.parent)
