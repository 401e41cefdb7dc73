"""hive's tools for the CLI: `/mcp` on a loopback port, relayed to `http.sock`.

Each request must carry the token of this start of the harness as `Authorization: Bearer`; it is not passed on. Other
processes of the container reach the port too, and do not have the token.

Requests are not copied but read by h11 and written anew, each on a connection of its own, so that hive sees exactly the
requests that were checked here. An answer may take as long as it takes. If the CLI disconnects, so does the relay: hive
then ends the request, and a `recv` hands out nothing.

It reads along whether the CLI got the list of the tools (harness.runtimes.listings), and changes nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import h11

from harness.relay.listener import CHUNK, HOST, connect, linger, listening
from harness.relay.listing_reader import ListingReader
from harness.runtimes.base import McpEndpoint
from harness.runtimes.listings import Listings

log = logging.getLogger(__name__)

PATH = b"/mcp"
METHODS = frozenset({b"POST", b"GET", b"DELETE"})
CONNECTIONS = 64
"""The limit of connections at the same time. The CLI keeps them open between its calls."""
CALLS = 12
"""The limit of requests at the same time; others wait. hive takes 16 connections, and programs may use it directly."""
HEAD_BYTES = 16_384
FIRST_SECONDS = 10.0
"""Seconds that a connection has for its first request. A connection that once had the token may idle."""
BODY_SECONDS = 10.0
"""Seconds that the body of a request may take: it holds one of the places that the CLI needs."""
PATIENCE = 5.0
"""Seconds that a request waits for a hive that does not answer, because it may be restarting."""

_Headers = list[tuple[bytes, bytes]]
_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"expect"),
    }
)
_NOT_FORWARDED = _HOP_BY_HOP | {b"authorization", b"host", b"content-length", b"accept-encoding"}
"""Without `accept-encoding` hive compresses no answer, so that the list of the tools can be seen in it."""


@contextlib.asynccontextmanager
async def mcp_relay(
    socket: Path, *, port: int = 0, calls: int = CALLS, patience: float = PATIENCE
) -> AsyncIterator[McpEndpoint]:
    """Relay inside the block; yield where the CLI finds hive's tools. `port` is a wish, 0 none."""
    token, listings = secrets.token_urlsafe(32), Listings()
    relay = _Relay(str(socket), token.encode(), asyncio.Semaphore(calls), patience, listings)
    async with listening(relay.serve, relay.refuse, limit=CONNECTIONS, port=port) as chosen:
        yield McpEndpoint(f"http://{HOST}:{chosen}{PATH.decode()}", token, listings)


class _Peer:
    """One end of HTTP/1.1 on a stream."""

    def __init__(self, role: type[h11.CLIENT | h11.SERVER], streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]):
        self.http = h11.Connection(role, max_incomplete_event_size=HEAD_BYTES)
        self.reader, self.writer = streams

    async def receive(self) -> object:
        """Return the next event of h11. RemoteProtocolError if the bytes are not HTTP."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(CHUNK))
        return event

    async def send(self, *events: h11.Event) -> None:
        """Write the events, no faster than the other end reads."""
        for event in events:
            if data := self.http.send(event):
                self.writer.write(data)
        await self.writer.drain()


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An answer of the relay itself: one line of text."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Disconnected(Exception):
    """The CLI is gone."""


class _Relay:
    """The server of the loopback port."""

    def __init__(
        self, socket: str, token: bytes, slots: asyncio.Semaphore, patience: float, listings: Listings
    ) -> None:
        self._socket = socket
        self._token = token
        self._slots = slots
        self._patience = patience
        self._listings = listings
        self._has_warned = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        client = _Peer(h11.SERVER, (reader, writer))
        seconds: float | None = FIRST_SECONDS
        with contextlib.suppress(TimeoutError, _Disconnected):
            while True:
                async with asyncio.timeout(seconds):
                    request = await self._request(client)
                if request is None:
                    return
                refusal = self._refusal(request)
                if refusal is None:
                    refusal = await self._call(client, request)
                    self._listings.answer() if refusal is None else self._listings.fail(refusal.text)
                if refusal is not None:
                    await _refuse(client, refusal)
                    return
                if client.http.our_state is not h11.DONE or client.http.their_state is not h11.DONE:
                    await linger(reader, writer)
                    return
                client.http.start_next_cycle()
                seconds = None

    async def refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the first request of a connection that is one too many."""
        client = _Peer(h11.SERVER, (reader, writer))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                if await self._request(client) is not None:
                    text = f"too many connections to hive's tools, at most {CONNECTIONS} at the same time"
                    await _refuse(client, _Refusal(503, text))

    async def _request(self, client: _Peer) -> h11.Request | None:
        """Return the next request. None if there is none; what is not HTTP has then been answered."""
        try:
            event = await client.receive()
        except h11.RemoteProtocolError as error:
            await _refuse(client, _Refusal(error.error_status_hint, "the request is not HTTP/1.1"))
            return None
        return event if isinstance(event, h11.Request) else None

    def _refusal(self, request: h11.Request) -> _Refusal | None:
        given = [value for name, value in request.headers if name == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], b"Bearer " + self._token):
            if not self._has_warned:
                log.warning("a request to hive's tools had no or a wrong token; no further one is logged")
                self._has_warned = True
            return _Refusal(401, "the token of hive's tools is missing or wrong")
        if request.http_version not in (b"1.0", b"1.1"):
            return _Refusal(505, "this version of HTTP is not served here")
        if request.target != PATH:
            return _Refusal(404, "only /mcp is served here")
        if request.method not in METHODS:
            return _Refusal(405, "/mcp takes POST, GET and DELETE", ((b"allow", b"POST, GET, DELETE"),))
        return None

    async def _call(self, client: _Peer, request: h11.Request) -> _Refusal | None:
        """Relay one request and its answer. Return what to answer instead if hive gives none."""
        async with self._slots:
            try:
                hive = _Peer(h11.CLIENT, await connect(self._socket, self._patience))
            except OSError:
                return _Refusal(503, "hive is not running, or restarting: nothing was done, try again later")
            try:
                return await _exchange(client, hive, request, ListingReader(self._listings))
            finally:
                hive.writer.transport.abort()


async def _exchange(client: _Peer, hive: _Peer, request: h11.Request, listing: ListingReader) -> _Refusal | None:
    """Send the request to hive, and its answer back, which may begin before the request has ended."""
    asking = asyncio.ensure_future(_ask(client, hive, request, listing))
    answering = asyncio.ensure_future(_give_answer(hive, client, listing))
    try:
        await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
        if asking.done() and not answering.done() and (refusal := asking.result()) is not None:
            return refusal
        return await answering
    finally:
        for task in (asking, answering):
            task.cancel()
        await asyncio.gather(asking, answering, return_exceptions=True)


async def _ask(client: _Peer, hive: _Peer, request: h11.Request, listing: ListingReader) -> _Refusal | None:
    """Send head and body to hive, then watch the CLI: raise _Disconnected if it is gone."""
    try:
        if client.http.they_are_waiting_for_100_continue:
            await client.send(h11.InformationalResponse(status_code=100, headers=[]))
        async with asyncio.timeout(BODY_SECONDS):
            await _send_whole(client, hive, request, listing)
        await _watch(client)
    except TimeoutError:
        return _Refusal(408, f"the request's body took longer than {BODY_SECONDS:g} s")
    except h11.RemoteProtocolError as error:
        return _Refusal(error.error_status_hint, "the request's body is not HTTP/1.1")
    except OSError as error:
        if hive.writer.is_closing():
            return None  # it took no more of the body, and may have answered all the same
        raise _Disconnected from error
    return None


async def _watch(client: _Peer) -> None:
    """Raise _Disconnected once the CLI is gone, also if it only ended its side: it asks one request after the other.

    What it sends meanwhile is of its next requests. Of those no more is read than one may have as head.
    """
    rest = HEAD_BYTES
    while rest > 0:
        data = await client.reader.read(rest)
        if not data:
            raise _Disconnected
        client.http.receive_data(data)
        rest -= len(data)


async def _send_whole(client: _Peer, hive: _Peer, request: h11.Request, listing: ListingReader) -> None:
    headers: _Headers = [(b"host", b"hive"), (b"connection", b"close"), *_kept(request.headers, _NOT_FORWARDED)]
    await hive.send(h11.Request(method=request.method, target=PATH, headers=[*headers, *_framing(request)]))
    while not isinstance(event := await client.receive(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise _Disconnected
        listing.ask(bytes(event.data))
        await hive.send(h11.Data(data=event.data))
    await hive.send(h11.EndOfMessage())


async def _give_answer(hive: _Peer, client: _Peer, listing: ListingReader) -> _Refusal | None:
    has_begun = False
    try:
        while True:
            event = await hive.receive()
            if isinstance(event, h11.Response):
                has_begun = True
                headers = list(_kept(event.headers, _HOP_BY_HOP))
                await client.send(h11.Response(status_code=event.status_code, headers=headers, reason=event.reason))
            elif isinstance(event, h11.Data):
                await client.send(h11.Data(data=event.data))
                listing.answer(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                await client.send(h11.EndOfMessage())
                return None
    except (OSError, h11.RemoteProtocolError) as error:
        if has_begun:
            raise ConnectionResetError("the answer broke off") from error
    return _Refusal(503, "hive ended during this call: it may or may not have been done")


def _kept(headers: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes]) -> Iterable[tuple[bytes, bytes]]:
    """Return the headers that go on: not those of the connection itself, nor those that `Connection` names."""
    pairs = list(headers)
    named = {part.strip().lower() for name, value in pairs if name == b"connection" for part in value.split(b",")}
    return [(name, value) for name, value in pairs if name not in dropped and name not in named]


def _framing(request: h11.Request) -> _Headers:
    """Return the header that frames the body. h11 has checked that there is no contradiction in the request's."""
    headers = dict(request.headers)
    if b"transfer-encoding" in headers:
        return [(b"transfer-encoding", b"chunked")]
    return [(b"content-length", headers[b"content-length"])] if b"content-length" in headers else []


async def _refuse(client: _Peer, refusal: _Refusal) -> None:
    """Answer with one line, and end the connection. If an answer has begun, only end it."""
    if client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        raise ConnectionResetError("the answer broke off")
    text = f"{refusal.text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode("ascii")),
        (b"connection", b"close"),
        *refusal.headers,
    ]
    await client.send(
        h11.Response(status_code=refusal.status, headers=headers), h11.Data(data=text), h11.EndOfMessage()
    )
    await linger(client.reader, client.writer)
