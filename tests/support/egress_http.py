"""An agent, a gate and upstreams in one process, for what `hive-egress` does with HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meta.errors import BadInput
from meta.names import AgentName
from meta.network.operator_file import parse_operator_file
from meta.network.policy import AgentPolicy
from meta.network.report import Metered
from meta.network.routes import Route
from meta.network.rule import canonical_host, parse_rule
from meta.network.verdict import Verdict
from reconciler.egress.forward import serve_port_80, serve_requests
from reconciler.egress.keys import Keys
from reconciler.egress.pool import Upstreams
from reconciler.egress.ports import HTTP, TUNNEL, Account, Denied
from reconciler.egress.share import Share
from tests.support.own_ca import client_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
KEY = "sk-real-key"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
END = b"\r\n\r\n"


@dataclass
class Booked:
    """One connection in the books of the fake gate."""

    kind: str
    host: str
    port: int
    route: str = ""
    sent: int = 0
    received: int = 0
    private: bool = False
    end: str = ""

    def finish(self, end: str) -> None:
        self.end = self.end or end


@dataclass
class FakeGate:
    """A gate that allows what `policy` allows, and connects each name to loopback: to `ports` of the upstreams."""

    policy: AgentPolicy
    ports: Mapping[tuple[str, int], int] = field(default_factory=dict)
    routes_by_name: dict[str, Route] = field(default_factory=dict)
    agent: AgentName = AgentName("alice")  # noqa: RUF009 - a text
    refused: list[tuple[str, str, int, Verdict]] = field(default_factory=list)
    booked: list[Booked] = field(default_factory=list)
    metered: list[Metered] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    keys: Keys = field(default_factory=Keys)
    booked_task: asyncio.Task[object] | None = None
    carried: int = 0
    idle_seconds: float = 3600.0

    def __post_init__(self) -> None:
        self.upstreams = Upstreams(self.dial_upstream, trust=client_context)
        self.share = Share(asyncio.get_running_loop().time)

    def decide(self, host: str, port: int, kind: str = TUNNEL) -> str:
        try:
            name = canonical_host(host)
        except BadInput as error:
            raise Denied(Verdict.BAD_REQUEST, "bad-request") from error
        if not self.policy.allows(name, port, 0.0):
            denied = Denied(Verdict.NOT_LISTED, f"{name}:{port}-is-not-on-the-list-of-{self.agent}")
            self.refuse(kind, name, port, denied)
            raise denied
        return name

    async def dial(self, host: str, port: int, account: Account) -> Streams:
        self.decide(host, port, HTTP)
        return await asyncio.open_connection(sock=await self.dial_upstream(host, port))

    async def dial_upstream(self, host: str, port: int) -> socket.socket:
        self.dialled.append((host, port))
        if (host, port) not in self.ports:
            raise Denied(Verdict.UNREACHABLE, f"{host}:{port}-does-not-answer")
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.ports[host, port]))
        return connection

    @contextlib.contextmanager
    def account(self, kind: str, host: str, port: int, route: str = "") -> Iterator[Booked]:
        self.booked_task = asyncio.current_task()
        self.booked.append(Booked(kind, host, port, route))
        yield self.booked[-1]

    def refuse(self, kind: str, host: str, port: int, denied: Denied) -> None:
        self.refused.append((kind, host, port, denied.verdict))

    def route(self, name: str) -> tuple[Route, str]:
        try:
            return self._route(name)
        except Denied as denied:
            self.refuse("route", name, 0, denied)
            raise

    def _route(self, name: str) -> tuple[Route, str]:
        route = self.routes_by_name.get(name)
        if route is None or not route.serves(self.agent):
            raise Denied(Verdict.NO_ROUTE, f"there-is-no-route-{name}-for-{self.agent}")
        if self.policy.held:
            raise Denied(Verdict.HELD, self.policy.held)
        return route, self.keys.key(route)

    def routes(self) -> Mapping[str, str]:
        return {name: route.kind for name, route in self.routes_by_name.items() if route.serves(self.agent)}

    def git_upstreams(self) -> Mapping[str, str]:
        return {name: route.upstream for name, route in self.routes_by_name.items() if route.kind == "git"}

    def meter(self, tokens: Metered) -> None:
        self.metered.append(tokens)

    async def pace(self, count: int) -> None:
        self.carried += count

    def refused_after(self, number: int) -> tuple[list[tuple[str, int, int]], int]:
        counts = Counter((host, port) for _, host, port, verdict in self.refused[number:] if verdict.may_be_asked)
        return [(host, port, count) for (host, port), count in counts.items()], len(self.refused)


def policy(*rules: str, held: str = "") -> AgentPolicy:
    """Return a policy of these rules."""
    return AgentPolicy(tuple(map(parse_rule, rules)), held=held)


@dataclass
class Agent:
    """A raw connection of an agent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        """Return the head of the next answer."""
        return await self.reader.readuntil(END)

    async def chunk(self) -> bytes:
        """Return the next chunk of an answer."""
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return data

    async def answer(self) -> tuple[bytes, bytes]:
        """Return head and body of the next answer, framed by chunks, its length, or the end of the connection."""
        head = await self.head()
        lines = head.lower().split(b"\r\n")
        if b"transfer-encoding: chunked" in lines:
            body = b""
            while data := await self.chunk():
                body += data
            return head, body
        for line in lines:
            if line.startswith(b"content-length:"):
                return head, await self.reader.readexactly(int(line.split(b":")[1]))
        return head, await self.reader.read()

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        await self.send(request)
        return await self.answer()

    async def is_ended(self) -> bool:
        return await self.reader.read() == b""


@contextlib.asynccontextmanager
async def agents(gate: FakeGate, folder: Path, port_80: str = "") -> AsyncIterator[Callable[[], Awaitable[Agent]]]:
    """Serve the gate's socket; yield what connects an agent. `port_80`: as if it had asked CONNECT to that host."""
    path, writers = folder / "egress.sock", []
    tasks: set[asyncio.Task[object]] = set()
    faults: list[Exception] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if port_80:
                await serve_port_80((reader, writer), gate, port_80, b"")
            else:
                await serve_requests((reader, writer), gate, await reader.read(8))
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
        except Exception as error:  # noqa: BLE001 - asyncio would only log it
            writer.transport.abort()
            faults.append(error)
        finally:
            tasks.discard(task)

    async def connect() -> Agent:
        reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
        writers.append(writer)
        return Agent(reader, writer)

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield connect
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gate.upstreams.close()
    assert not faults, faults


@dataclass
class Visit:
    """One connection at an upstream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        """Return the head of the next request."""
        return await self.reader.readuntil(END)

    async def request(self) -> tuple[bytes, bytes]:
        """Return head and body of the next request."""
        head = await self.head()
        lines = head.lower().split(b"\r\n")
        if b"transfer-encoding: chunked" in lines:
            body = b""
            while (size := int(await self.reader.readline(), 16)) > 0:
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return head, body
        for line in lines:
            if line.startswith(b"content-length:"):
                return head, await self.reader.readexactly(int(line.split(b":")[1]))
        return head, b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def is_ended(self) -> bool:
        """Return True once the other side ended the connection."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@contextlib.asynccontextmanager
async def upstream(serve: Callable[[Visit], Awaitable[None]], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve each connection by a function; yield the port on loopback."""
    tasks: set[asyncio.Task[object]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(Visit(reader, writer))
            writer.close()
        except (asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def route(folder: Path, **settings: object) -> Route:
    """Return the route of a table of the operator's file, with a key."""
    key = folder / "key"
    if not key.exists():
        key.write_text(f"{KEY}\n")
        key.chmod(0o600)
    rows = {"file": str(key), **settings}
    text = "[credentials.anthropic]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in rows.items())
    return parse_operator_file(text.encode()).routes["anthropic"]


class Upstream:
    """Answers every request alike, and keeps what it got."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0

    async def __call__(self, visit: Visit) -> None:
        self.connections += 1
        while not visit.reader.at_eof():
            head, body = await visit.request()
            self.heads.append(head)
            self.bodies.append(body)
            await visit.send(self.answer)


async def converse(
    tmp_path: Path,
    serve: Callable[[Visit], Awaitable[None]],
    talk: Callable[[Agent], Awaitable[None]],
    port_80: str = "",
) -> FakeGate:
    """Connect an agent that may reach web.example, served by a function. Return the gate."""
    async with upstream(serve) as port:
        gate = FakeGate(
            policy("web.example", "web.example:8080"), {("web.example", 80): port, ("web.example", 8080): port}
        )
        async with agents(gate, tmp_path, port_80) as connect, asyncio.timeout(20):
            await talk(await connect())
    return gate
