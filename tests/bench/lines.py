"""A lean client of a line protocol, and the floor beside it: a server that echoes a line after one durable commit."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import override


class Caller(asyncio.Protocol):
    """One connection; `call` may be pipelined, answers come in order."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._waiting.popleft().set_result(line)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._waiting:
            answer.cancel("the server hung up")

    def call(self, line: bytes) -> asyncio.Future[bytes]:
        """Send one line (with its newline); the answer's line."""
        assert self._transport is not None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._transport.write(line)
        return answer

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()


async def caller(path: Path) -> Caller:
    """Connect to a unix socket."""
    _, protocol = await asyncio.get_running_loop().create_unix_connection(Caller, str(path))
    return protocol


def line(**request: object) -> bytes:
    """A request as its line."""
    return json.dumps(request).encode() + b"\n"


@contextmanager
def echo(directory: Path) -> Iterator[Path]:
    """The floor, in a process of its own: a bare asyncio socket, and one SQLite commit with FULL before each answer."""
    path = directory / "echo.sock"
    context = multiprocessing.get_context("fork")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    process = context.Process(target=_echo, args=(listener, directory / "echo.db"), daemon=True)
    process.start()
    listener.close()
    try:
        yield path
    finally:
        process.terminate()
        process.join(10)


def _echo(listener: socket.socket, database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT) STRICT")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while text := await reader.readline():
            connection.execute("INSERT INTO messages (body) VALUES (?)", (text.decode(),))
            writer.write(text)

    async def run() -> None:
        server = await asyncio.start_unix_server(serve, sock=listener)
        await server.serve_forever()

    asyncio.run(run())
