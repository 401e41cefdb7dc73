"""The relay to hive's tools, in front of a stand-in that notes every byte it gets."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from harness.relay import mcp
from harness.relay.mcp import mcp_relay
from harness.relay.peer import HEAD_BYTES
from harness.runtimes.base import McpEndpoint

DEADLINE = 20.0
Answer = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def say_ok(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")


class Upstream:
    """http.sock: one request per connection, answered by `answer`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "http.sock"
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.most = 0
        self.answer: Answer = say_ok
        self._open = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                self.bodies.append(await self._body(head.lower(), reader))
                await self.answer(head, reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _body(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        if b"transfer-encoding: chunked" in head:
            return await reader.readuntil(b"0\r\n\r\n")
        if b"content-length: " not in head:
            return b""
        return await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    with tempfile.TemporaryDirectory(prefix="hive-run-") as directory:
        one = Upstream(Path(directory))
        await one.open()
        async with asyncio.timeout(DEADLINE):
            yield one
        one.close()


@pytest.fixture
async def endpoint(upstream: Upstream) -> AsyncIterator[McpEndpoint]:
    async with mcp_relay(upstream.path, patience=0.1) as endpoint:
        yield endpoint


class Client:
    """One connection of a CLI."""

    def __init__(self, endpoint: McpEndpoint) -> None:
        self._endpoint = endpoint
        self.token = f"Authorization: Bearer {endpoint.token}\r\n".encode()

    async def __aenter__(self) -> Client:
        port = int(self._endpoint.url.split(":")[2].split("/")[0])
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    def post(self, body: bytes = b"{}", *, extra: bytes = b"", target: bytes = b"/mcp") -> None:
        length = b"Content-Length: %d\r\n" % len(body)
        self.writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\n%s%s%s\r\n%s" % (target, self.token, length, extra, body))

    async def status(self) -> int:
        """The status of the next answer, whose head and body are read."""
        return (await self.answer())[0]

    async def answer(self) -> tuple[int, bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), await self.reader.readexactly(length)


# the token
@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Authorization: Bearer \r\n",
        b"Authorization: Bearer wrong\r\n",
        b"Authorization: Basic %TOKEN%\r\n",
        b"Authorization: Bearer %TOKEN%x\r\n",
        b"Authorization: Bearer %TOKEN%\r\nAuthorization: Bearer %TOKEN%\r\n",
        b"X-Authorization: Bearer %TOKEN%\r\n",
    ],
)
async def test_without_the_token_nothing_reaches_hive(upstream: Upstream, endpoint: McpEndpoint, header: bytes) -> None:
    async with Client(endpoint) as client:
        client.token = header.replace(b"%TOKEN%", endpoint.token.encode())
        client.post(b"x" * 1_000_000)
        assert await client.status() == 401
        assert await client.reader.read() == b""
    assert upstream.connections == 0


async def test_each_start_has_another_token_and_it_is_not_shown(upstream: Upstream) -> None:
    async with mcp_relay(upstream.path) as one, mcp_relay(upstream.path) as two:
        assert one.token != two.token
        assert len(one.token) >= 43
        assert one.token not in repr(one)


async def test_the_token_is_not_passed_on_and_other_headers_are(upstream: Upstream, endpoint: McpEndpoint) -> None:
    async with Client(endpoint) as client:
        client.post(b'{"id": 1}', extra=b"Mcp-Method: tools/call\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n")
        assert await client.answer() == (200, b"{}")
    (head,) = upstream.heads
    assert head.startswith(b"POST /mcp HTTP/1.1\r\n")
    assert b"mcp-method: tools/call\r\n" in head.lower()
    assert b"connection: close\r\n" in head.lower()
    assert endpoint.token.encode() not in head
    assert not {b"authorization", b"x-hop", b"te"} & {line.split(b":")[0].lower() for line in head.split(b"\r\n")}
    assert upstream.bodies == [b'{"id": 1}']


# requests
@pytest.mark.parametrize("target", [b"/", b"/mcp/", b"/mcp/../x", b"/mcp?x", b"http://hive/mcp", b"*", b"/MCP"])
async def test_only_mcp_is_served(upstream: Upstream, endpoint: McpEndpoint, target: bytes) -> None:
    async with Client(endpoint) as client:
        client.post(target=target)
        assert await client.status() == 404
    assert upstream.connections == 0


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("DELETE", 200), ("PUT", 405), ("OPTIONS", 405)])
async def test_only_the_methods_of_mcp_pass(
    upstream: Upstream, endpoint: McpEndpoint, method: str, status: int
) -> None:
    async with Client(endpoint) as client:
        client.writer.write(f"{method} /mcp HTTP/1.1\r\nHost: x\r\n".encode() + client.token + b"\r\n")
        assert await client.status() == status
    assert upstream.connections == (status == 200)


SMUGGLED = b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /mcp HTTP/1.1\r\nHost: x\r\n%TOKEN%Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + SMUGGLED,
        b"POST /mcp HTTP/1.1\r\nHost: x\r\n%TOKEN%Content-Length: +5\r\n\r\nhello" + SMUGGLED,
        b"POST /mcp HTTP/1.1\r\nHost: x\r\n%TOKEN%Content-Length : 5\r\n\r\nhello" + SMUGGLED,
        b"POST /mcp HTTP/1.1\r\nHost: x\r\n%TOKEN%Transfer-Encoding: identity\r\n\r\nhello" + SMUGGLED,
        b"POST /mcp HTTP/1.1\r\nHost: x\r\n%TOKEN%Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"POST /mcp HTTP/1.1\r\n%TOKEN%\r\n" + SMUGGLED,
        b"POST /mcp HTTP/1.1\r\nHost: x\r\n%TOKEN% folded: y\r\n\r\n" + SMUGGLED,
        b"POST /mcp HTTP/2.0\r\nHost: x\r\n%TOKEN%\r\n" + SMUGGLED,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500 + b"\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (HEAD_BYTES + 1) + b"\r\n\r\n",
    ],
)
async def test_what_is_not_clean_http_reaches_nobody(
    upstream: Upstream, endpoint: McpEndpoint, request_: bytes
) -> None:
    async with Client(endpoint) as client:
        client.writer.write(request_.replace(b"%TOKEN%", client.token))
        head = await client.reader.read()
    assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 50")), head
    assert head.count(b"HTTP/1.1 ") == 1
    assert upstream.heads == []


async def test_a_length_beside_chunks_is_dropped_and_what_follows_is_a_request_without_a_token(
    upstream: Upstream, endpoint: McpEndpoint
) -> None:
    async with Client(endpoint) as client:
        both = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
        client.writer.write(b"POST /mcp HTTP/1.1\r\nHost: x\r\n%s%s\r\n" % (client.token, both))
        client.writer.write(b"2\r\n{}\r\n0\r\n\r\n" + SMUGGLED)
        assert await client.status() == 200
        assert await client.status() == 401
    assert [b"content-length" in head.lower() for head in upstream.heads] == [False]
    assert upstream.bodies == [b"2\r\n{}\r\n0\r\n\r\n"]


async def test_a_body_whose_chunks_are_broken_is_refused(upstream: Upstream, endpoint: McpEndpoint) -> None:
    async with Client(endpoint) as client:
        client.writer.write(b"POST /mcp HTTP/1.1\r\nHost: x\r\n%sTransfer-Encoding: chunked\r\n\r\n" % client.token)
        client.writer.write(b"zz\r\n{}\r\n0\r\n\r\n")
        assert await client.status() == 400
    assert upstream.bodies == []


async def test_a_client_that_waits_to_be_asked_for_the_body_is_asked(endpoint: McpEndpoint) -> None:
    async with Client(endpoint) as client:
        client.post(b"", extra=b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n")
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        client.writer.write(b"0\r\n\r\n")
        assert await client.status() == 200


async def test_a_connection_serves_many_requests_also_those_sent_before_the_answer(
    upstream: Upstream, endpoint: McpEndpoint
) -> None:
    async with Client(endpoint) as client:
        for _ in range(3):
            client.post()
            assert await client.status() == 200
        for _ in range(3):
            client.post()
        assert [await client.status() for _ in range(3)] == [200] * 3
    assert len(upstream.bodies) == 6


async def test_twenty_calls_at_once_are_all_answered_and_hive_gets_no_more_than_it_takes(upstream: Upstream) -> None:
    async def one(endpoint: McpEndpoint) -> int:
        async with Client(endpoint) as client:
            client.post()
            return await client.status()

    async with mcp_relay(upstream.path, calls=5) as endpoint:
        assert await asyncio.gather(*(one(endpoint) for _ in range(20))) == [200] * 20
    assert upstream.most <= 5
    assert upstream.connections == 20


# answers
async def test_an_answer_is_passed_on_piece_by_piece(upstream: Upstream, endpoint: McpEndpoint) -> None:
    more = asyncio.Event()

    async def stream(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await more.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    upstream.answer = stream
    async with Client(endpoint) as client:
        client.post()
        await client.reader.readuntil(b"data: 1\n\n\r\n")
        more.set()
        await client.reader.readuntil(b"data: 2\n\n\r\n0\r\n\r\n")
        upstream.answer = say_ok
        client.post()
        assert await client.status() == 200


async def test_an_answer_that_comes_before_the_body_has_ended_reaches_the_client(
    upstream: Upstream, endpoint: McpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(_head: bytes, _reader: asyncio.StreamReader) -> bytes:
        return b""

    async def too_long(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    monkeypatch.setattr(upstream, "_body", none)
    upstream.answer = too_long
    async with Client(endpoint) as client:
        client.post(b"x" * 4_000_000)
        assert await client.status() == 413


async def test_a_client_that_goes_away_is_gone_for_hive_too(upstream: Upstream, endpoint: McpEndpoint) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def wait(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        begun.set()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        gone.set()

    upstream.answer = wait
    async with Client(endpoint) as client:
        client.post()
        await begun.wait()
    await gone.wait()


async def test_a_client_that_goes_away_after_part_of_its_next_request_is_gone_too(
    upstream: Upstream, endpoint: McpEndpoint
) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def wait(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        begun.set()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        gone.set()

    upstream.answer = wait
    async with Client(endpoint) as client:
        client.post()
        await begun.wait()
        client.writer.write(b"POST /mcp HTTP/1.1\r\n")
        await client.writer.drain()
    await gone.wait()


async def test_bodies_that_do_not_end_keep_no_place_for_ever(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "BODY_SECONDS", 0.2)
    async with mcp_relay(upstream.path, calls=1) as endpoint, Client(endpoint) as slow, Client(endpoint) as other:
        slow.writer.write(b"POST /mcp HTTP/1.1\r\nHost: x\r\n%sContent-Length: 9\r\n\r\n{" % slow.token)
        while not upstream.connections:
            await asyncio.sleep(0)
        other.post()
        assert await other.status() == 200
        assert await slow.status() == 408


# the list of the tools
LIST = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
LISTED = b'{"jsonrpc": "2.0", "id": 1, "result": {"tools": []}}'


def json_answer(body: bytes, status: bytes = b"200 OK") -> Answer:
    async def answer(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))

    return answer


@pytest.mark.parametrize(
    ("request_", "answer", "count"),
    [
        (LIST, LISTED, 1),
        (b"[%s]" % LIST, b"[%s]" % LISTED, 1),
        (LIST, b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "no \\"tools\\" now"}}', 0),
        (b'{"method": "tools/call", "params": {"name": "tools/list"}}', LISTED, 0),
        (b"tools/list", LISTED, 0),
        (b"[" * 10_000 + LIST, LISTED, 0),
        (LIST + b" " * 20_000, LISTED, 0),
    ],
)
async def test_an_answer_with_the_tools_is_counted_and_no_other(
    upstream: Upstream, endpoint: McpEndpoint, request_: bytes, answer: bytes, count: int
) -> None:
    upstream.answer = json_answer(answer)
    async with Client(endpoint) as client:
        client.post(request_)
        assert (await client.answer())[1] == answer
    assert endpoint.listings is not None
    assert endpoint.listings.count == count


async def test_a_list_that_comes_in_pieces_is_counted_once(upstream: Upstream, endpoint: McpEndpoint) -> None:
    async def stream(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in (b'data: {"result": {"to', b'ols": [{"name": ', b'"tools"}]}}'):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    upstream.answer = stream
    async with Client(endpoint) as client:
        client.post(LIST)
        await client.reader.readuntil(b"0\r\n\r\n")
    assert endpoint.listings is not None
    assert await endpoint.listings.wait(0, 5)
    assert endpoint.listings.count == 1


async def test_why_the_cli_got_no_tools_is_known_until_it_gets_them(upstream: Upstream, endpoint: McpEndpoint) -> None:
    listings = endpoint.listings
    assert listings is not None
    upstream.close()
    async with Client(endpoint) as client:
        client.post(LIST)
        assert await client.status() == 503
    assert "hive is not running" in listings.trouble
    assert not await listings.wait(0, 0.01)
    await upstream.open()
    upstream.answer = json_answer(LISTED)
    async with Client(endpoint) as client:
        waiting = asyncio.create_task(listings.wait(0, DEADLINE))
        client.post(LIST)
        assert await waiting
    assert listings.trouble == ""


async def test_an_answer_to_another_request_clears_an_old_trouble(upstream: Upstream, endpoint: McpEndpoint) -> None:
    listings = endpoint.listings
    assert listings is not None
    listings.fail("hive is not running")
    async with Client(endpoint) as client:
        client.post()
        assert await client.status() == 200
        client.post()
        assert await client.status() == 200
    assert (listings.count, listings.trouble) == (0, "")


async def test_hive_is_asked_for_no_compressed_answer(upstream: Upstream, endpoint: McpEndpoint) -> None:
    async with Client(endpoint) as client:
        client.post(extra=b"Accept-Encoding: gzip\r\n")
        await client.status()
    assert b"accept-encoding" not in upstream.heads[0].lower()


async def test_a_program_without_the_token_changes_nothing_of_that(upstream: Upstream, endpoint: McpEndpoint) -> None:
    upstream.answer = json_answer(LISTED)
    async with Client(endpoint) as client:
        client.token = b""
        client.post(LIST)
        assert await client.status() == 401
    assert endpoint.listings is not None
    assert (endpoint.listings.count, endpoint.listings.trouble) == (0, "")


# hive restarts
async def test_while_hive_is_down_a_request_gets_503_and_the_next_works(
    upstream: Upstream, endpoint: McpEndpoint
) -> None:
    upstream.close()
    async with Client(endpoint) as client:
        client.post()
        status, text = await client.answer()
        assert (status, text.count(b"\n")) == (503, 1)
        assert b"nothing was done" in text
    await upstream.open()
    async with Client(endpoint) as client:
        client.post()
        assert await client.status() == 200


async def test_a_request_waits_for_a_hive_that_restarts(upstream: Upstream) -> None:
    upstream.close()
    async with mcp_relay(upstream.path, patience=DEADLINE) as endpoint, Client(endpoint) as client:
        client.post()
        await upstream.open()
        assert await client.status() == 200


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200"])
async def test_hive_dying_in_a_call_is_503_and_says_that_it_may_be_done(
    upstream: Upstream, endpoint: McpEndpoint, part: bytes
) -> None:
    async def die(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(part)

    upstream.answer = die
    async with Client(endpoint) as client:
        client.post()
        status, text = await client.answer()
    assert status == 503
    assert b"may or may not have been done" in text


async def test_an_answer_that_breaks_off_is_not_ended_cleanly(upstream: Upstream, endpoint: McpEndpoint) -> None:
    async def break_off(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")

    upstream.answer = break_off
    async with Client(endpoint) as client:
        client.post()
        await client.reader.readuntil(b"hello\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await client.reader.read() == b""
