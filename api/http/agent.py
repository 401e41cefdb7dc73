"""HTTP on an agent's `http.sock`: a bound socket, with limits on what one agent can use (`api.http.bounded`)."""

from __future__ import annotations

from functools import partial

from api.http.asgi import App
from api.http.bounded import BoundedProtocol, Connections
from api.sockets.listener import Bound
from api.sockets.server import Server

CONNECTIONS = 16
"""The limit of connections to one agent's http.sock. Each running tool call uses one."""


class HttpServer:
    """`app` on one bound socket. Its start, rebind, stop and close are those of api.lines.server.LineServer."""

    def __init__(self, bound: Bound, app: App, *, connections: int = CONNECTIONS) -> None:
        self.bound = bound
        self._connections = Connections(app, partial(BoundedProtocol, connections))
        self._server: Server | None = None

    async def start(self) -> None:
        """Start to accept connections."""
        self._server = Server(self._connections.protocol)
        self._server.listen(self.bound.sock)

    def rebind(self, bound: Bound) -> None:
        """Listen on `bound` from now on, because the file of the socket before is gone. Open connections go on."""
        self.bound = bound
        if self._server is not None:
            self._server.listen(bound.sock)

    async def stop(self) -> None:
        """Accept no more connections, and end the open ones within bounds. The file stays."""
        if self._server is not None:
            await self._connections.end(self._server)

    async def close(self) -> None:
        """Stop, and remove the file."""
        await self.stop()
        self.bound.remove()
