"""The dashboard's listener: TCP and TLS, and what one peer cannot take from the others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from api.http import bounded
from api.http.asgi import App, Message, Receive, Scope, Send
from api.ui import server as servers
from api.ui.access.login import KEY
from api.ui.server import TcpServer, listen
from tests.support.own_ca import ca_file, server_context

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
BUSY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n"
"""A request whose body is not whole yet."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with who asks and how, once the body is there."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    if message["type"] == "http.disconnect":
        return
    text = f"{scope['scheme']} {scope['client'][0]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


async def known(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer like `app`, with a login noted as the guard does it."""
    scope["state"] = {**scope.get("state", {}), KEY: "of anna"}
    await app(scope, receive, send)


@asynccontextmanager
async def serving(
    address: str = "127.0.0.1", tls: Callable[[], ssl.SSLContext | None] = lambda: None, app: App = app
) -> AsyncIterator[int]:
    sockets = listen([address], 0)
    server = TcpServer(app, sockets, tls=tls)
    server.start()
    async with asyncio.timeout(20):
        try:
            yield sockets[0].getsockname()[1]
        finally:
            await server.stop()


async def ask(port: int, context: ssl.SSLContext | None = None, sent: bytes = REQUEST) -> bytes:
    name = "a.test" if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        writer.write(sent)
        return await reader.read(1000)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file()))


async def test_the_client_of_a_request_is_the_peers_address() -> None:
    async with serving() as port:
        assert (await ask(port)).endswith(b"\r\n\r\nhttp 127.0.0.1")


async def test_tls_speaks_https_and_a_changed_context_counts_for_the_next_connection() -> None:
    context = server_context("other.test")
    async with serving(tls=lambda: context) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, trusting())
        context = server_context("a.test")
        assert (await ask(port, trusting())).endswith(b"https 127.0.0.1")


async def test_a_handshake_that_never_ends_is_cut_off_and_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "HANDSHAKE_DEADLINE", 0.05)
    async with serving(tls=lambda: server_context("a.test")) as port:
        assert await ask(port, sent=b"\x16\x03\x01") == b""
        assert await ask(port, sent=REQUEST) == b""
        assert b"200 OK" in await ask(port, trusting())


async def test_one_address_has_a_limit_of_connections_and_a_proxy_a_higher_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "PER_NEAR_ADDRESS", 2)
    async with serving(app=known) as port:
        first, second = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in (first, second):
            writer.write(REQUEST)
            assert b"200 OK" in await reader.read(1000)
            writer.write(BUSY)
        assert await ask(port) == b"", "each has a request, whose body is not there yet"
        for reader, writer in (first, second):
            writer.write(b"x")
            assert b"200 OK" in await reader.read(1000)
            writer.close()


async def test_who_is_silent_gives_way_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "PER_NEAR_ADDRESS", 2)
    async with serving() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        assert b"200 OK" in await ask(port)
        for reader, writer in silent[:3]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read(1) == b"", "the ones that were silent for longest"
            writer.close()
        silent[4][1].write(REQUEST)
        assert b"200 OK" in await silent[4][0].read(1000)
        silent[3][1].close()
        silent[4][1].close()


async def test_who_never_had_a_login_gives_way_first_busy_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "CONNECTIONS", 2)

    async def some(scope: Scope, receive: Receive, send: Send) -> None:
        await (known if scope["path"] == "/known" else app)(scope, receive, send)

    async with serving(app=some) as port:
        operator = await asyncio.open_connection("127.0.0.1", port)
        operator[1].write(REQUEST.replace(b"/ ", b"/known ", 1))
        assert b"200 OK" in await operator[0].read(1000)
        stranger = await asyncio.open_connection("127.0.0.1", port)
        stranger[1].write(REQUEST)
        assert b"200 OK" in await stranger[0].read(1000)
        stranger[1].write(BUSY)
        assert b"200 OK" in await ask(port)
        assert await stranger[0].read(1) == b""
        operator[1].write(REQUEST)
        assert b"200 OK" in await operator[0].read(1000)
        for _, writer in (operator, stranger):
            writer.close()


async def test_who_says_nothing_at_first_is_cut_off_sooner_than_between_two_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "FIRST_HEAD_DEADLINE", 0.05)
    async with serving() as port:
        talking, silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        talking[1].write(REQUEST)
        assert b"200 OK" in await talking[0].read(1000)
        assert await silent[0].read(1) == b""
        talking[1].write(REQUEST)
        assert b"200 OK" in await talking[0].read(1000)
        for _, writer in (talking, silent):
            writer.close()


async def test_a_body_that_does_not_come_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "BODY_DEADLINE", 0.05)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    async with serving() as port:
        assert await ask(port, sent=head % 10 + b"123") == b""
        assert b"200 OK" in await ask(port, sent=head % 3 + b"123")


async def test_a_port_in_use_on_one_of_two_addresses_is_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            listen(["::1", "127.0.0.1"], other.getsockname()[1])


async def test_an_address_that_this_host_does_not_have_is_left_out_beside_another() -> None:
    sockets = listen(["127.0.0.1", "2001:db8::1"], 0)
    assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1"]
    sockets[0].close()
    with pytest.raises(OSError, match="assign"):
        listen(["192.0.2.1"], 0)


async def test_the_end_of_the_server_ends_a_stream_that_does_not_end_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(servers, "GRACE", 0.05)

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    async with serving(app=stream) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        assert b"200 OK" in await reader.read(100)
    writer.close()
    assert caplog.records == []


async def test_a_reader_that_stops_reading_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "SEND_DEADLINE", 0.05)
    ended = asyncio.Event()

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        leaving = asyncio.ensure_future(receive())
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"x" * 2**16, "more_body": True})
            await asyncio.sleep(0)
        ended.set()

    async with serving(app=flood) as port:
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(REQUEST)
            await ended.wait()
