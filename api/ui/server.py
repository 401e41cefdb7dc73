"""HTTP over TCP, with TLS if there is a certificate: the dashboard's listener, with limits on what one peer can use.

A connection is refused before its handshake if its address, or all together, have too many that are in use; one that
is idle, or never had a request with a login, ends for it. A peer is disconnected if it does not finish its handshake,
the head or the body of a request in time, or does not read an answer.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from typing_extensions import override

from api.http.asgi import App
from api.http.bounded import BoundedProtocol, Connections
from api.http.requests import BODY_DEADLINE
from api.http.uds import GRACE, peer_log
from api.sockets.listener import BACKLOG
from api.sockets.server import MakeProtocol, Server
from api.ui.access.login import KEY
from reconciler.access.attempts import network_of

CONNECTIONS = 512
"""Connections of all peers together."""
PER_ADDRESS = 64
"""Connections of one address, or of 64 bits of an IPv6 address. A browser has six for each host."""
PER_NEAR_ADDRESS = 384
"""Connections of an address of this host, or of a trusted proxy: many browsers come from there."""
HANDSHAKE_DEADLINE = 10.0
FIRST_HEAD_DEADLINE = 10.0
"""Seconds to wait for the first request of a connection. Between two it is `bounded.HEAD_DEADLINE`."""
_NO_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

_log = peer_log(__name__, logging.WARNING)


class DashboardProtocol(BoundedProtocol):
    """One connection of a browser or a proxy. scope["client"] has its address and port."""

    def __init__(self, **arguments: Any) -> None:  # uvicorn's own
        super().__init__(CONNECTIONS, **arguments)
        self._body_deadline: asyncio.TimerHandle | None = None
        self._first_deadline: asyncio.TimerHandle | None = None
        self._known = False
        self.idle_since = 0.0
        """When it was opened, or its last answer ended, by the loop's clock."""

    @property
    def idle(self) -> bool:
        """Return True while no request is answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def known(self) -> bool:
        """True once a request had a login. uvicorn gives the application its own scope, in which the guard notes it."""
        self._known = self._known or (self.cycle is not None and self.cycle.scope.get("state", {}).get(KEY) is not None)
        return self._known

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        name = transport.get_extra_info("peername")
        self.client = (str(name[0]), int(name[1])) if name else None
        self.idle_since = self.loop.time()
        self._first_deadline = self.loop.call_later(FIRST_HEAD_DEADLINE, self.transport.abort)

    @override
    def on_response_complete(self) -> None:
        self._known = self.known
        super().on_response_complete()
        self.idle_since = self.loop.time()

    @override
    def _read_on(self) -> None:
        super()._read_on()
        cycle = self.cycle
        if cycle is not None:
            self._end_first_deadline()
        if cycle is None or cycle.response_complete or not cycle.more_body:
            self._cancel_body_deadline()
        elif self._body_deadline is None and not self.transport.is_closing():
            self._body_deadline = self.loop.call_later(BODY_DEADLINE, self.transport.abort)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end_first_deadline()
        self._cancel_body_deadline()
        super().connection_lost(exc)

    def _end_first_deadline(self) -> None:
        if self._first_deadline is not None:
            self._first_deadline.cancel()
            self._first_deadline = None

    def _cancel_body_deadline(self) -> None:
        if self._body_deadline is not None:
            self._body_deadline.cancel()
            self._body_deadline = None


class TcpServer:
    """`app` on listening TCP sockets. `tls` returns the context of new connections, None without TLS.

    `near` has the addresses of trusted proxies.
    """

    def __init__(
        self,
        app: App,
        sockets: Sequence[socket.socket],
        *,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
        near: frozenset[str] = frozenset(),
    ) -> None:
        self._sockets = sockets
        self._tls = tls
        self._near = near
        self._connections = Connections(app, DashboardProtocol)
        self._arriving: Counter[str] = Counter()
        self._servers: list[Server] = []

    def start(self) -> None:
        """Start to accept connections."""
        for sock in self._sockets:
            server = Server(self._connections.protocol, connect=self._connect)
            server.listen(sock)
            self._servers.append(server)

    async def stop(self) -> None:
        """Accept no more connections, and end the open ones within bounds.

        Streams end by themselves before, so nothing of them is left to report.
        """
        await self._connections.end(*self._servers)

    async def _connect(self, peer: socket.socket, protocol: MakeProtocol) -> None:
        address = str(peer.getpeername()[0])
        if not self._admits(address):
            _log.warning("too many connections of %s: refused another", address)
            peer.close()
            return
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connect = partial(asyncio.get_running_loop().connect_accepted_socket, protocol, peer)
        context = self._tls()
        self._arriving[network_of(address)] += 1
        try:
            if context is None:
                await connect()
            else:
                await connect(ssl=context, ssl_handshake_timeout=HANDSHAKE_DEADLINE, ssl_shutdown_timeout=GRACE)
        finally:
            self._arriving[network_of(address)] -= 1

    def _admits(self, address: str) -> bool:
        """Return True if there is room for another connection. If there is none, an older one ends for it.

        It is the one that is idle longest: first of those that never had a request with a login, which may be busy as
        well. So who has no login, or only keeps connections open, keeps nobody out.
        """
        network = network_of(address)
        open_now = self._connections.open()
        near = [each for each in open_now if each.client is not None and network_of(each.client[0]) == network]
        most = PER_NEAR_ADDRESS if self._is_near(address) else PER_ADDRESS
        if len(near) + self._arriving[network] >= most:
            crowd = near
        elif len(open_now) + self._arriving.total() >= CONNECTIONS:
            crowd = open_now
        else:
            return True
        least = [each for each in crowd if each.idle or not each.known]
        ending = min(least, key=lambda each: (each.known, each.idle_since), default=None)
        if ending is not None:
            ending.transport.abort()
        return ending is not None

    def _is_near(self, address: str) -> bool:
        return address in self._near or ipaddress.ip_address(address).is_loopback


def listen(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Return a listening socket for each address. Raise OSError if one is in use, or if this host has none of them."""
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for address in addresses:
            try:
                sockets.append(_listen(address, port))
            except OSError as error:
                # A host may have no ::1. One that is in use belongs to somebody else.
                if len(addresses) == 1 or error.errno not in _NO_ADDRESS:
                    raise
                missing = error
        if not sockets and missing is not None:
            raise missing
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen(address: str, port: int) -> socket.socket:
    family, kind, _, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[
        0
    ]
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(place)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
