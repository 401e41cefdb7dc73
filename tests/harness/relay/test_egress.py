"""The way out: bytes through the loopback port to a unix socket that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from harness.relay import egress, listener
from harness.relay.egress import Misses, egress_relay
from harness.relay.idle import Connections

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DEADLINE = 20.0
MIB = 2**20


@pytest.fixture
def way() -> Iterator[Path]:
    """A directory for the socket, with a path short enough for one."""
    with tempfile.TemporaryDirectory(prefix="hive-way-") as directory:
        yield Path(directory)


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE):
        yield


@contextlib.asynccontextmanager
async def outside(way: Path, serve: Serve) -> AsyncIterator[None]:
    """What hive has at the other end of the socket."""
    server = await asyncio.start_unix_server(serve, way / egress.SOCKET)
    try:
        yield
    finally:
        server.close()
        (way / egress.SOCKET).unlink(missing_ok=True)


async def dial(url: str) -> Streams:
    return await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def end_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer only once the client has ended its side."""
    writer.write(b"%d bytes" % len(await reader.read()))
    writer.close()


async def test_bytes_pass_both_ways_unchanged(way: Path) -> None:
    data = bytes(range(256)) * 4096
    async with outside(way, echo), egress_relay(way) as url:
        reader, writer = await dial(url)
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()


async def test_the_end_of_one_side_is_passed_on_and_the_other_goes_on(way: Path) -> None:
    async with outside(way, end_after_the_end), egress_relay(way) as url:
        reader, writer = await dial(url)
        writer.write(b"x" * MIB)
        writer.write_eof()
        assert await reader.read() == b"%d bytes" % MIB
        writer.close()


async def test_a_sender_is_held_up_by_a_receiver_that_does_not_read(way: Path) -> None:
    reading, sent = asyncio.Event(), 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reading.wait()
        await end_after_the_end(reader, writer)

    async with outside(way, slow), egress_relay(way) as url:
        reader, writer = await dial(url)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while sent < 64 * MIB:
                    writer.write(b"x" * MIB)
                    await writer.drain()
                    sent += MIB
        assert sent < 16 * MIB, "more than what the kernel's and the relay's buffers hold"
        reading.set()
        writer.write_eof()
        assert int((await reader.read()).split()[0]) >= sent
        writer.close()


async def test_a_side_that_breaks_off_breaks_off_the_other(way: Path) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"half an ans")
        await writer.drain()
        writer.transport.abort()

    async with outside(way, break_off), egress_relay(way) as url:
        reader, writer = await dial(url)
        writer.write(b"xyz")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() in (b"", b"half an ans")
        writer.close()


async def test_a_client_that_goes_away_ends_the_connection_outside(way: Path) -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.set_result(await reader.read())
        writer.close()

    async with outside(way, wait), egress_relay(way) as url:
        _, writer = await dial(url)
        writer.write(b"request")
        writer.close()
        assert await ended == b"request"


async def test_without_a_socket_a_request_is_answered_with_503_and_what_is_missing(way: Path) -> None:
    async with egress_relay(way, patience=0.05) as url:
        reader, writer = await dial(url)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"x-should-retry: false" in head
    message = json.loads(body)["error"]["message"]
    assert str(way / "egress.sock") in message
    assert "No such file" in message
    assert b"\n" not in body


async def test_a_socket_that_comes_soon_is_waited_for_and_one_that_comes_back_is_found(way: Path) -> None:
    async with egress_relay(way, patience=DEADLINE) as url:
        reader, writer = await dial(url)
        writer.write(b"early")
        for _ in range(2):
            async with outside(way, echo):
                assert await reader.readexactly(5) == b"early"
                writer.close()
            reader, writer = await dial(url)
            writer.write(b"early")
        writer.close()


async def test_connections_beyond_the_limit_are_answered_and_beyond_twice_as_many_cut_off(way: Path) -> None:
    async with outside(way, echo), egress_relay(way, limit=1) as url:
        first, second, third = [await dial(url) for _ in range(3)]
        for _, writer in (first, second):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await second[0].read()).startswith(b"HTTP/1.1 503 ")
        with contextlib.suppress(ConnectionResetError):
            assert await third[0].read() == b""
        assert await first[0].readexactly(4) == b"GET "
        for _, writer in (first, second, third):
            writer.close()


async def test_idle_connections_of_tools_make_room_for_a_request(way: Path) -> None:
    connections = Connections(unused=0.0, answered=0.0)
    async with outside(way, echo), egress_relay(way, limit=2, connections=connections) as url:
        unused, answered = await dial(url), await dial(url)
        writers: list[asyncio.StreamWriter] = []
        answered[1].write(b"hello")
        assert await answered[0].readexactly(5) == b"hello"
        for closed, closed_writer in (unused, answered):
            reader, writer = await dial(url)
            writers.append(writer)
            writer.write(b"GET ")
            assert await reader.readexactly(4) == b"GET "
            with contextlib.suppress(ConnectionResetError):
                assert await closed.read() == b""
            closed_writer.close()
        for writer in writers:
            writer.close()


async def test_a_connection_whose_request_waits_for_its_answer_is_not_closed_for_another(way: Path) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        asked.set()
        await finish.wait()
        writer.write(b"done")
        writer.close()

    asked, finish = asyncio.Event(), asyncio.Event()
    connections = Connections(unused=0.0, answered=0.0)
    async with outside(way, wait), egress_relay(way, limit=1, connections=connections) as url:
        reader, writer = await dial(url)
        writer.write(b"GET ")
        await asked.wait()
        other, other_writer = await dial(url)
        other_writer.write(b"GET / HTTP/1.1\r\n\r\n")
        head = await other.read()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"x-should-retry: true" in head
        finish.set()
        assert await reader.read() == b"done"
        for each in (writer, other_writer):
            each.close()


async def test_only_loopback_is_listened_on_and_a_port_that_is_taken_is_replaced(way: Path) -> None:
    async with egress_relay(way) as one, egress_relay(way, port=int(one.rsplit(":", 1)[1])) as two:
        assert one != two
        assert two.startswith(f"http://{listener.HOST}:")


async def test_a_socket_that_answered_before_is_waited_for_longer_and_what_it_missed_is_counted(way: Path) -> None:
    misses = Misses()
    async with egress_relay(way, patience=0.01, restart=DEADLINE, misses=misses) as url:
        reader, writer = await dial(url)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        assert (misses.count, misses.answered) == (1, False)
        async with outside(way, echo):
            reader, writer = await dial(url)
            writer.write(b"early")
            assert await reader.readexactly(5) == b"early"
            writer.close()
        reader, writer = await dial(url)
        writer.write(b"later")
        async with outside(way, echo):
            assert await reader.readexactly(5) == b"later"
            writer.close()
        assert (misses.count, misses.answered) == (1, True)
