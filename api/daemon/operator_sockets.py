"""The operator's two sockets: `host.sock` (lines) and `http.sock` (HTTP)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from api.http.app import application
from api.http.asgi import App
from api.http.uds import serving
from api.lines.host import host_server
from api.mcp.app import ENVELOPE, Endpoint, with_mcp
from api.operations.base import Call
from api.sockets.listener import Bound, bind
from api.sockets.principals import Operator
from meta.config import Config
from meta.errors import HiveError
from meta.layout import FOLDER_MODE, Layout
from reconciler.plan.steps import OpenSockets

if TYPE_CHECKING:
    from reconciler.service import Service

log = logging.getLogger(__name__)


@asynccontextmanager
async def serve_operator(
    service: Service, layout: Layout, config: Config, stopping: asyncio.Event
) -> AsyncIterator[None]:
    """Serve both sockets inside the block. Raise Conflict if another daemon listens there.

    `stopping` is set by the end of the block, so that open event streams end.
    """
    async with AsyncExitStack() as stack:
        http = bind(layout.http_socket, exclusive=True)
        stack.callback(http.remove)
        host = host_server(bind(layout.host_socket, exclusive=True), service, limit=config.max_line_bytes)
        stack.push_async_callback(host.close)
        await host.start()
        endpoint = Endpoint(Call(service, Operator(), stopping), limit=config.max_line_bytes + ENVELOPE)
        stack.push_async_callback(endpoint.close)
        # Litestar works for a quarter of a second to build its routes: agents are answered meanwhile.
        routes = await asyncio.to_thread(application, service, stopping)
        app = cast("App", routes)  # Litestar types the same protocol more narrowly
        server = await stack.enter_async_context(serving(with_mcp(app, endpoint), http, service.background))
        restoring = service.background.start("sockets", _restore_forever(service, (host, server), config.resync))
        stack.push_async_callback(service.background.stop, restoring)
        try:
            yield
        finally:
            stopping.set()
            endpoint.stop()


class _Rebound(Protocol):
    """A server that can listen on another socket."""

    bound: Bound

    def rebind(self, bound: Bound) -> None: ...


async def _restore_forever(service: Service, servers: Sequence[_Rebound], interval: float) -> None:
    """Make a socket again whose file was removed or replaced, at each resync until cancelled. Connections go on."""
    while True:
        await asyncio.sleep(interval)
        for server in servers:
            path = server.bound.path
            try:
                if not server.bound.present():
                    server.rebind(await asyncio.to_thread(_bind_again, path))
                    log.warning("%s was removed; it was made again", path)
                    data = {"what": f"{path.name} was removed", "step": OpenSockets.name}
                    await service.events.append("repaired", None, data)
            except (HiveError, OSError) as error:
                log.warning("%s cannot be made again now: %s", path, error, extra={"limited": f"{path} again"})


def _bind_again(path: Path) -> Bound:
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return bind(path, exclusive=True)
