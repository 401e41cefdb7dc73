"""The server of every socket: it pauses when no descriptor is left, and can move to another socket."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from api.sockets import server as servers
from api.sockets.listener import bind
from api.sockets.server import Server


class Echo(asyncio.Protocol):
    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def echo(path: Path) -> bytes:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x")
        answer = await reader.read(1)
        writer.close()
        await writer.wait_closed()
        return answer


class Refusing(socket.socket):
    """A listening socket of a process that has no descriptor left for a while."""

    refusals = 0

    @override
    def accept(self) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_a_lack_of_descriptors_is_reported_once_for_each_pause_and_ends_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "PAUSE", 0.01)
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    bound = bind(tmp_path / "s")
    listening = Refusing(fileno=bound.sock.detach())
    listening.refusals = 3
    server = Server(Echo)
    server.listen(listening)
    assert await asyncio.gather(*(echo(bound.path) for _ in range(5))) == [b"x"] * 5
    assert [report["exception"].errno for report in reports] == [errno.EMFILE] * 3
    server.close()


async def test_a_server_that_is_closed_in_a_pause_accepts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "PAUSE", 0.0)
    reported = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda *_: reported.set())
    bound = bind(tmp_path / "s")
    listening = Refusing(fileno=bound.sock.detach())
    listening.refusals = 1
    server = Server(Echo)
    server.listen(listening)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(bound.path))
        await reported.wait()
        server.close()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


async def test_open_connections_go_on_when_a_server_moves_to_another_socket(tmp_path: Path) -> None:
    first = bind(tmp_path / "s")
    server = Server(Echo)
    server.listen(first.sock)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(first.path)
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        first.path.unlink()
        second = bind(tmp_path / "s")
        server.listen(second.sock)
        writer.write(b"b")
        assert await reader.read(1) == b"b"
        assert await echo(second.path) == b"x"
        writer.close()
    server.close()
    await server.wait_closed()
