"""HTTP with limits on what one peer can use: for agents' sockets and for the dashboard's port.

A peer is disconnected if it does not send the head of its next request within HEAD_DEADLINE, or does not read an answer
for SEND_DEADLINE. Connections beyond a limit are refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from typing_extensions import override
from uvicorn.server import ServerState

from api.http.asgi import App
from api.http.problems import MEDIA_TYPE, problem_of
from api.http.uds import GRACE, PeerProtocol, embedded, peer_log
from api.lines.connection import SEND_DEADLINE
from api.sockets.server import Server
from meta.errors import Refused

HEAD_DEADLINE = 60.0
"""Seconds to wait for a whole request head. This is long enough for a connection that is idle between two turns of a
model.
"""

SLICE = 1024
"""Bytes that are parsed at a time. In a body of one-byte chunks each byte costs as much as a whole chunk."""

_error_log = peer_log(__name__, logging.ERROR)  # uvicorn warns of each bad request, so an agent could fill the log


class BoundedProtocol(PeerProtocol):
    """One connection of a peer that hive does not trust. A server has at most `connections` of them."""

    def __init__(self, connections: int, **arguments: Any) -> None:  # uvicorn's own
        super().__init__(**arguments)
        self.logger = _error_log
        self._limit = connections
        self._refused = False
        self._unread = b""
        self._head_deadline: asyncio.TimerHandle | None = None
        self._send_deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limit:
            self._refuse()
        else:
            self._await_head()

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        reading, self._unread = bool(self._unread), self._unread + data
        if not reading:
            self._read_on()

    def _read_on(self) -> None:
        """Parse a slice now, and the rest after other tasks had their turn."""
        if self.transport.is_closing():
            return
        slice, rest = self._unread[:SLICE], self._unread[SLICE:]
        super().data_received(slice)
        self._unread = rest
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel_head_deadline()
        if rest:
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # no pipelined request has begun
            self._await_head()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_deadline = self.loop.call_later(SEND_DEADLINE, self.transport.abort)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._send_deadline is not None:
            self._send_deadline.cancel()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_deadline()
        if self._send_deadline is not None:
            self._send_deadline.cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._cancel_head_deadline()
        if not self.transport.is_closing():
            self._head_deadline = self.loop.call_later(HEAD_DEADLINE, self.transport.abort)

    def _cancel_head_deadline(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()

    def _refuse(self) -> None:
        self._refused = True
        problem = problem_of(Refused(f"too many connections to this socket, at most {self._limit}", "close some first"))
        content = json.dumps({**problem, "status": 503}).encode()
        head = (
            f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()


P = TypeVar("P", bound=BoundedProtocol)


class Connections(Generic[P]):
    """The connections of one server, whose requests `app` answers. `make` makes a protocol of uvicorn's arguments."""

    def __init__(self, app: App, make: Callable[..., P]) -> None:
        self._make = make
        self._state = ServerState()
        self._config = embedded(app, interface="asgi3", lifespan="off", timeout_keep_alive=int(HEAD_DEADLINE))
        self._config.load()

    def protocol(self) -> P:
        """Return the protocol of a new connection."""
        loop = asyncio.get_running_loop()
        return self._make(config=self._config, server_state=self._state, app_state={}, _loop=loop)

    def open(self) -> list[P]:
        """Return the connections that are not closed or about to be."""
        every = cast("set[P]", self._state.connections)  # `make` made them
        return [each for each in every if not each.transport.is_closing()]

    async def end(self, *servers: Server) -> None:
        """Accept no more connections on `servers`, and end the open ones. Those with a request get GRACE seconds."""
        for server in servers:
            server.close()
        for server in servers:
            await server.wait_closed()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(tuple(self._state.tasks), timeout=GRACE)
        for connection in tuple(self._state.connections):
            connection.transport.abort()
        # The app notices that its peers have disconnected, and ends their requests.
        if self._state.tasks:
            await asyncio.wait(tuple(self._state.tasks), timeout=GRACE)
