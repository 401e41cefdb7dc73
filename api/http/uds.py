"""uvicorn on a bound unix socket, in a daemon that handles signals itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import h11
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.http.asgi import App
from api.http.fallback import with_fallback
from api.http.problems import MEDIA_TYPE, problem_of
from api.sockets.listener import Bound
from api.sockets.principals import peer_uid
from api.sockets.server import Server
from meta.errors import BadInput
from reconciler.common.tasks import Background

log = logging.getLogger(__name__)

GRACE = 2
"""Seconds that open requests have to finish when the daemon ends."""
CLIENT = "uid"
"""scope["client"] is ("uid", <the peer's uid>): a unix peer has no address, and no peer can forge this one."""


class _Limited(logging.Filter):
    """Marks each record as one that a peer can cause again and again (reconciler.common.log_limit)."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        record.limited = record.name
        return True


def peer_log(name: str, level: int) -> logging.Logger:
    """Return the logger `name` for what uvicorn reports of connections, limited and from `level` on."""
    logger = logging.getLogger(name)
    logger.setLevel(level)
    logger.addFilter(_Limited())
    return logger


_peers = peer_log(f"{__name__}.peers", logging.WARNING)


class PeerProtocol(H11Protocol):
    """h11, with the peer's uid as the client's address. A peer that breaks the protocol raises nothing here."""

    def __init__(self, **arguments: Any) -> None:  # uvicorn's own
        super().__init__(**arguments)
        self.logger = _peers

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        uid = peer_uid(transport.get_extra_info("socket"))
        self.client = (CLIENT, uid) if uid is not None else None

    @override
    def data_received(self, data: bytes) -> None:
        """Parse `data`. Skip what follows the last request of a connection (`Connection: close`, HTTP/1.0)."""
        if self.conn.their_state is not h11.MUST_CLOSE:
            super().data_received(data)

    @override
    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with problem details, and end the connection and its request.

        If an answer has begun already, only end the connection.
        """
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._reject()
        if self.cycle is not None and not self.cycle.response_complete:
            # As in connection_lost, which comes later: until then the app must send nothing after this answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _reject(self) -> None:
        is_head = self.conn.our_state is h11.SEND_RESPONSE and self.cycle.scope["method"] == "HEAD"
        problem = json.dumps(problem_of(BadInput("the request is not HTTP/1.1", "see docs/reference/http.md"))).encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(problem)).encode()),
            (b"connection", b"close"),
        ]
        head = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=b"" if is_head else problem), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")


class EmbeddedServer(uvicorn.Server):
    """A server that leaves signals to the daemon, and waits for `stop` instead of polling ten times a second.

    It accepts connections on `bound` as the other servers of hive do.
    """

    def __init__(self, config: uvicorn.Config, bound: Bound) -> None:
        super().__init__(config)
        self.bound = bound
        self._stop = asyncio.Event()
        self._listener: Server | None = None

    def rebind(self, bound: Bound) -> None:
        """Listen on `bound` from now on, because the file of the socket before is gone. Open connections go on."""
        self.bound = bound
        if self._listener is not None:
            self._listener.listen(bound.sock)

    @override
    async def startup(self, sockets: Any = None) -> None:
        """Start the application and listen. uvicorn's own method leaves accepting to asyncio."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise RuntimeError("the HTTP application did not start")
        self._listener = Server(self._protocol)
        self._listener.listen(self.bound.sock)
        self.servers = cast("Any", [self._listener])
        self.started = True

    def _protocol(self) -> PeerProtocol:
        return PeerProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )

    def stop(self) -> None:
        """Stop after the open requests."""
        self.should_exit = True
        self._stop.set()

    @override
    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._stop.wait()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def embedded(app: App, **more: Any) -> uvicorn.Config:  # uvicorn's own
    """Return uvicorn's settings for an application in the daemon, which logs by itself and listens by `Server`."""
    return uvicorn.Config(
        with_fallback(app),
        http=PeerProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        **more,
    )


@contextlib.asynccontextmanager
async def serving(app: App, bound: Bound, background: Background) -> AsyncIterator[EmbeddedServer]:
    """Serve `app` on `bound` inside the block. At its end, open requests have GRACE seconds to finish."""
    config = embedded(app, lifespan="on", timeout_graceful_shutdown=GRACE)
    server = EmbeddedServer(config, bound)
    task = background.start(f"http {bound.path}", server.serve())
    try:
        yield server
    finally:
        background.release(task)
        server.stop()
        await asyncio.wait({task})
        server.bound.remove()
