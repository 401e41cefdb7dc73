"""A `hive-egress` in the test's own process, with a resolver of the test and an upstream on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meta.names import AgentName
from meta.network.control import decode_line, encode_line
from meta.network.policy import AgentPolicy, Grant, Policy
from meta.network.report import AgentReport, ConnectionRecord
from meta.network.rule import parse_rule
from reconciler.egress.options import Options
from reconciler.egress.server import Server

ALICE = AgentName("alice")
BOB = AgentName("bob")
WAIT = 10.0
"""Seconds after which a test that waits has failed."""
NOON = 1_796_040_000.0


@dataclass(slots=True)
class Names:
    """The resolver. `addresses` by name; each question is kept."""

    addresses: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """Answer as the host's resolver does."""
        self.asked.append(host)
        if host not in self.addresses:
            raise OSError("no such name")
        return self.addresses[host]


@dataclass(slots=True)
class Upstream:
    """A server on loopback. It sends back what it gets, and `greeting` first."""

    greeting: bytes = b""
    port: int = 0
    got: bytes = b""
    connections: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        with contextlib.suppress(OSError):
            writer.write(self.greeting)
            while data := await reader.read(65_536):
                self.got += data
                writer.write(data)
                await writer.drain()
        self.ended.set()
        writer.close()


class Lab:
    """One `hive-egress`. `now` is the time of its policy."""

    def __init__(self, folder: Path) -> None:
        self.options = Options(folder / "s", folder / "c.sock", folder / "state", folder / "network.toml")
        self.options.sockets.mkdir()
        self.options.state.mkdir()
        self.names = Names()
        self.upstream = Upstream()
        self.lines: list[str] = []
        self.now = NOON
        self._writers: list[asyncio.StreamWriter] = []
        self.server: Server = None  # type: ignore[assignment]  # by `start`

    async def start(self) -> None:
        """Start a server on the same state."""
        self.server = Server(self.options, self.names, self.lines.append, lambda: self.now)
        await self.server.start()

    async def close(self) -> None:
        """End the clients, and the server."""
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await self.server.close()

    def configure(self, text: str) -> None:
        """Replace the operator's file."""
        fresh = self.options.network.with_suffix(".new")
        fresh.write_text(text)
        os.utime(fresh, (0, 0))  # one that was written a moment ago is not obeyed yet
        fresh.rename(self.options.network)

    def folder(self, agent: AgentName = ALICE) -> Path:
        """Return the directory of an agent, made if it is missing."""
        (self.options.sockets / agent).mkdir(exist_ok=True)
        return self.options.sockets / agent

    async def push(self, *rules: str, agent: AgentName = ALICE, grants: tuple[Grant, ...] = ()) -> None:
        """Push a policy of one agent with these rules."""
        self.folder(agent)
        await self.server.set_policy(Policy({agent: AgentPolicy(tuple(map(parse_rule, rules)), grants)}))

    async def control(self, document: dict[str, object]) -> dict[str, object]:
        """Return the answer of the control socket."""
        reader, writer = await asyncio.open_unix_connection(self.options.control)
        writer.write(encode_line(document))
        answer = decode_line(await reader.readline())
        writer.close()
        return answer

    async def ask(self, request: bytes, agent: AgentName = ALICE) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send bytes on the socket of an agent."""
        reader, writer = await asyncio.open_unix_connection(self.folder(agent) / "egress.sock")
        self._writers.append(writer)
        writer.write(request)
        return reader, writer

    async def status(self, target: str, agent: AgentName = ALICE) -> str:
        """Return the status line of the answer to a CONNECT."""
        reader, writer = await self.ask(connect(target), agent)
        line = await reader.readline()
        writer.close()
        return line.decode().rstrip()

    async def tunnel(self, target: str, agent: AgentName = ALICE) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a tunnel."""
        reader, writer = await self.ask(connect(target), agent)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        return reader, writer

    def report(self, agent: AgentName = ALICE) -> AgentReport:
        """Return the report of an agent."""
        return self.server.report().agents[agent]

    def records(self, agent: AgentName = ALICE) -> list[ConnectionRecord]:
        """Return the connections of an agent."""
        return self.server.connections(agent, 0)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the event loop has made a condition true."""
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0)


def connect(target: str) -> bytes:
    """Return the head of a CONNECT."""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


def hello(name: str | None) -> bytes:
    """Return the ClientHello of this Python's TLS, with an SNI or none."""
    context = ssl.create_default_context()
    if name is None:
        context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@asynccontextmanager
async def running_lab(folder: Path) -> AsyncIterator[Lab]:
    """A lab with its upstream, which every rule and `private` may name as `up.example:PORT`."""
    lab = Lab(folder)
    upstream = await asyncio.start_server(lab.upstream.serve, "127.0.0.1", 0)
    lab.upstream.port = upstream.sockets[0].getsockname()[1]
    lab.names.addresses["up.example"] = ["127.0.0.1"]
    lab.configure(f'private = ["up.example:{lab.upstream.port}"]')
    await lab.start()
    try:
        yield lab
    finally:
        await lab.close()
        upstream.close()
        await upstream.wait_closed()
