"""What an agent asks that is no tunnel: plain HTTP by absolute form, by CONNECT to port 80, and the key face.

Each request of a connection is decided anew. A redirect is an answer like any other: the agent asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import h11

from meta.network.inside import PREFIX
from meta.network.verdict import Verdict
from reconciler.egress import answers, headers
from reconciler.egress.client import Client, Gone
from reconciler.egress.exchange import Exchange
from reconciler.egress.inside import answer_inside
from reconciler.egress.pool import Upstream
from reconciler.egress.ports import HTTP, ROUTE, Account, Denied, Gate, Streams
from reconciler.egress.routes import serve_route
from reconciler.egress.target import HTTP_PORT, Authority, absolute, check_host

KEPT_SECONDS = 60.0
"""Seconds after which a connection outside is made, and its address checked, anew for the next request."""

Serve = Callable[[h11.Request], Awaitable[None]]


async def serve_requests(client: Streams, gate: Gate, head: bytes) -> None:
    """Serve the requests of a connection that does not begin with CONNECT.

    `head` has the bytes that were read so far: perhaps not the whole head, perhaps more. The caller closes the
    connection.
    """
    agent = Client(client, gate.share, head)
    plain = _Plain(agent, gate)

    async def serve(request: h11.Request) -> None:
        if (target := absolute(request)) is not None:
            await plain.serve(request, *target)
        elif request.target.startswith(PREFIX.encode("ascii")):
            await _answer_inside(agent, gate, request)
        else:
            await serve_route(agent, gate, request)

    await _serve(agent, plain, serve, is_key_face=True)


async def serve_port_80(client: Streams, gate: Gate, host: str, head: bytes) -> None:
    """Serve the requests behind a CONNECT to port 80 of `host`, which the gate has allowed and which was answered 200.

    `host` is canonical; `head` has the bytes that came behind the head of the CONNECT. The caller closes the
    connection.
    """
    agent = Client(client, gate.share, head)
    plain = _Plain(agent, gate)
    there = Authority(host, HTTP_PORT)

    async def serve(request: h11.Request) -> None:
        authority, path = absolute(request) or (there, request.target)
        if authority != there:
            phrase = f"{authority.host}:{authority.port}-is-not-{host}:{HTTP_PORT}"
            raise plain.refuse(authority, Denied(Verdict.HOST_HEADER, phrase))
        await plain.serve(request, there, path)

    await _serve(agent, plain, serve, is_key_face=False)


async def _serve(client: Client, plain: _Plain, serve: Serve, *, is_key_face: bool) -> None:
    """Answer the requests of one connection, one after the other. A path is answered as the key face answers it."""
    try:
        while True:
            request: h11.Request | None = None
            try:
                if (request := await client.request()) is None:
                    return
                await serve(request)
            except Denied as denied:
                if denied.verdict is Verdict.BAD_REQUEST:
                    plain.refuse(Authority("", 0), denied)
                in_json = is_key_face and request is not None and request.target.startswith(b"/")
                await _refuse(client, b"GET" if request is None else request.method, denied, in_json=in_json)
                return
            if not client.start_next():
                await client.linger()
                return
            await asyncio.sleep(0)  # another agent's turn: the next request may be there already
    except Gone:
        client.writer.transport.abort()
    finally:
        plain.close()


async def _refuse(client: Client, method: bytes, denied: Denied, *, in_json: bool) -> None:
    """Answer, and end the connection. If another answer has begun, only end it."""
    if client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        raise Gone
    await client.send(*answers.refusal(denied, method, in_json=in_json))
    await client.linger()


async def _answer_inside(client: Client, gate: Gate, request: h11.Request) -> None:
    try:
        events = answer_inside(gate, request)
    except Denied as denied:
        gate.refuse(ROUTE, PREFIX, 0, denied)
        raise
    if await client.body() is not None:
        raise Denied(Verdict.BAD_REQUEST, "bad-request (a-body)")
    await client.send(*events)


class _Plain:
    """The plain HTTP of one connection. Its last upstream is kept, for the next request to the same host and port."""

    def __init__(self, client: Client, gate: Gate) -> None:
        self._client = client
        self._gate = gate
        self._last: tuple[Authority, Upstream] | None = None
        self._until = 0.0

    async def serve(self, request: h11.Request, authority: Authority, path: bytes) -> None:
        """Answer one request. Raise Denied, which was counted, or Gone."""
        if b"#" in path:
            raise Denied(Verdict.BAD_REQUEST, "bad-request (an-unclean-path)")
        try:
            check_host(request, authority)
        except Denied as denied:
            if denied.verdict is not Verdict.BAD_REQUEST:
                self.refuse(authority, denied)
            raise
        host = self._gate.decide(authority.host, authority.port, HTTP)
        pairs = [(b"host", authority.header), *headers.kept(request.headers, headers.NOT_FORWARDED)]
        if headers.wants_websocket(request):
            pairs += [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]
        pairs += headers.framing(request)
        asked = h11.Request(method=request.method, target=path, headers=pairs)
        with self._gate.account(HTTP, host, authority.port) as account:
            exchange = Exchange(self._client, self._gate, account)
            upstream = await exchange.run(asked, lambda fresh: self._connect(authority, account, fresh=fresh))
        if upstream is not None:
            upstream.kept = True
            self._last = (authority, upstream)

    def refuse(self, authority: Authority, denied: Denied) -> Denied:
        """Count a refusal. Return it."""
        self._gate.refuse(HTTP, authority.host, authority.port, denied)
        return denied

    def close(self) -> None:
        """End the upstream that is kept."""
        if self._last is not None:
            self._last[1].abort()
            self._last = None

    async def _connect(self, authority: Authority, account: Account, *, fresh: bool) -> Upstream:
        last, self._last = self._last, None
        if last is not None:
            is_young = asyncio.get_running_loop().time() < self._until
            if last[0] == authority and last[1].is_usable and is_young and not fresh:
                return last[1]
            last[1].abort()
        streams = await self._gate.dial(authority.host, authority.port, account)
        # one to a private address is kept for no other request, because `private` may be taken back meanwhile
        self._until = 0.0 if account.private else asyncio.get_running_loop().time() + KEPT_SECONDS
        return Upstream("", *streams)
