"""The tools for the CLI on a loopback port: hive's at `/mcp`, relayed to `http.sock`, those for sub-agents at `/pods`.

Each request must carry the token of this start of the harness as `Authorization: Bearer`; it is not passed on. Other
processes of the container reach the port too, and do not have the token.

Requests are not copied but read by h11 and written anew, each on a connection of its own, so that hive sees exactly the
requests that were checked here. An answer may take as long as it takes. If the CLI disconnects, so does the relay: hive
then ends the request, and a `recv` hands out nothing.

It reads along whether the CLI got the list of hive's tools (harness.runtimes.listings), and changes nothing of it.
What comes to `/pods` is answered here (harness.relay.pods). A harness may have one of the two alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import h11

from harness.relay.listener import HOST, connect, linger, listening
from harness.relay.listing_reader import ListingReader
from harness.relay.peer import HEAD_BYTES, Disconnected, Peer, Refusal, answer_with
from harness.relay.pods import PodTools
from harness.runtimes.base import McpEndpoint
from harness.runtimes.listings import Listings
from harness.subagents.tools import SubAgents

log = logging.getLogger(__name__)

PATH, POD_PATH = b"/mcp", b"/pods"
CONNECTIONS = 64
"""The limit of connections at the same time. The CLI keeps them open between its calls."""
CALLS = 12
"""The limit of requests at the same time; others wait. hive takes 16 connections, and programs may use it directly."""
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
    socket: Path | None,
    *,
    pods: SubAgents | None = None,
    port: int = 0,
    calls: int = CALLS,
    patience: float = PATIENCE,
) -> AsyncIterator[McpEndpoint]:
    """Relay inside the block; yield where the CLI finds its tools. `port` is a wish, 0 none.

    `socket` is that of hive's tools, None: the CLI gets none. `pods` does what the tools for sub-agents ask for, None:
    it gets none of those.
    """
    token, listings = secrets.token_urlsafe(32), Listings()
    hive = None if socket is None else _HiveTools(str(socket), asyncio.Semaphore(calls), patience, listings)
    relay = _Relay(token.encode(), hive, None if pods is None else PodTools(pods))
    async with listening(relay.serve, relay.refuse, limit=CONNECTIONS, port=port) as chosen:
        at = f"http://{HOST}:{chosen}"
        urls = ["" if tools is None else f"{at}{path.decode()}" for path, tools in relay.served]
        yield McpEndpoint(urls[0], token, listings if hive else None, urls[1])


class _Relay:
    """The server of the loopback port."""

    def __init__(self, token: bytes, hive: _HiveTools | None, pods: PodTools | None) -> None:
        self._token = token
        self.served: tuple[tuple[bytes, _HiveTools | PodTools | None], ...] = ((PATH, hive), (POD_PATH, pods))
        self._has_warned = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        client = Peer(h11.SERVER, (reader, writer))
        seconds: float | None = FIRST_SECONDS
        with contextlib.suppress(TimeoutError, Disconnected):
            while True:
                async with asyncio.timeout(seconds):
                    request = await self._request(client)
                if request is None:
                    return
                tools = self._tools(request)
                refusal = tools if isinstance(tools, Refusal) else await tools.call(client, request)
                if refusal is not None:
                    await answer_with(client, refusal)
                    return
                if client.http.our_state is not h11.DONE or client.http.their_state is not h11.DONE:
                    await linger(reader, writer)
                    return
                client.http.start_next_cycle()
                seconds = None

    async def refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the first request of a connection that is one too many."""
        client = Peer(h11.SERVER, (reader, writer))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                if await self._request(client) is not None:
                    text = f"too many connections to hive's tools, at most {CONNECTIONS} at the same time"
                    await answer_with(client, Refusal(503, text))

    async def _request(self, client: Peer) -> h11.Request | None:
        """Return the next request. None if there is none; what is not HTTP has then been answered."""
        try:
            event = await client.receive()
        except h11.RemoteProtocolError as error:
            await answer_with(client, Refusal(error.error_status_hint, "the request is not HTTP/1.1"))
            return None
        return event if isinstance(event, h11.Request) else None

    def _tools(self, request: h11.Request) -> _HiveTools | PodTools | Refusal:
        """Return the tools that a request is for, or why it gets none."""
        given = [value for name, value in request.headers if name == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], b"Bearer " + self._token):
            if not self._has_warned:
                log.warning("a request to hive's tools had no or a wrong token; no further one is logged")
                self._has_warned = True
            return Refusal(401, "the token of hive's tools is missing or wrong")
        if request.http_version not in (b"1.0", b"1.1"):
            return Refusal(505, "this version of HTTP is not served here")
        served = {path: tools for path, tools in self.served if tools is not None}
        tools = served.get(request.target)
        if tools is None:
            paths = " and ".join(path.decode() for path in served) or "nothing"
            return Refusal(404, f"only {paths} is served here")
        if request.method not in tools.methods:
            methods, path = ", ".join(method.decode() for method in tools.methods), request.target.decode()
            return Refusal(405, f"{path} takes {methods} only", ((b"allow", methods.encode()),))
        return tools


class _HiveTools:
    """hive's tools, behind `http.sock`."""

    methods = (b"POST", b"GET", b"DELETE")

    def __init__(self, socket: str, slots: asyncio.Semaphore, patience: float, listings: Listings) -> None:
        self._socket = socket
        self._slots = slots
        self._patience = patience
        self._listings = listings

    async def call(self, client: Peer, request: h11.Request) -> Refusal | None:
        """Relay one request and its answer. Return what to answer instead if hive gives none."""
        refusal = await self._relay(client, request)
        self._listings.answer() if refusal is None else self._listings.fail(refusal.text)
        return refusal

    async def _relay(self, client: Peer, request: h11.Request) -> Refusal | None:
        async with self._slots:
            try:
                hive = Peer(h11.CLIENT, await connect(self._socket, self._patience))
            except OSError:
                return Refusal(503, "hive is not running, or restarting: nothing was done, try again later")
            try:
                return await _exchange(client, hive, request, ListingReader(self._listings))
            finally:
                hive.writer.transport.abort()


async def _exchange(client: Peer, hive: Peer, request: h11.Request, listing: ListingReader) -> Refusal | None:
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


async def _ask(client: Peer, hive: Peer, request: h11.Request, listing: ListingReader) -> Refusal | None:
    """Send head and body to hive, then watch the CLI: raise Disconnected if it is gone."""
    try:
        await client.ask_for_body()
        async with asyncio.timeout(BODY_SECONDS):
            await _send_whole(client, hive, request, listing)
        await _watch(client)
    except TimeoutError:
        return Refusal(408, f"the request's body took longer than {BODY_SECONDS:g} s")
    except h11.RemoteProtocolError as error:
        return Refusal(error.error_status_hint, "the request's body is not HTTP/1.1")
    except OSError as error:
        if hive.writer.is_closing():
            return None  # it took no more of the body, and may have answered all the same
        raise Disconnected from error
    return None


async def _watch(client: Peer) -> None:
    """Raise Disconnected once the CLI is gone, also if it only ended its side: it asks one request after the other.

    What it sends meanwhile is of its next requests. Of those no more is read than one may have as head.
    """
    rest = HEAD_BYTES
    while rest > 0:
        data = await client.reader.read(rest)
        if not data:
            raise Disconnected
        client.http.receive_data(data)
        rest -= len(data)


async def _send_whole(client: Peer, hive: Peer, request: h11.Request, listing: ListingReader) -> None:
    headers: _Headers = [(b"host", b"hive"), (b"connection", b"close"), *_kept(request.headers, _NOT_FORWARDED)]
    await hive.send(h11.Request(method=request.method, target=PATH, headers=[*headers, *_framing(request)]))
    while not isinstance(event := await client.receive(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise Disconnected
        listing.ask(bytes(event.data))
        await hive.send(h11.Data(data=event.data))
    await hive.send(h11.EndOfMessage())


async def _give_answer(hive: Peer, client: Peer, listing: ListingReader) -> Refusal | None:
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
    return Refusal(503, "hive ended during this call: it may or may not have been done")


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
