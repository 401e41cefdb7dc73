"""The operator's two sockets: `host.sock` (lines) and `http.sock` (HTTP)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, cast

from api.http.app import application
from api.http.asgi import App
from api.http.uds import serving
from api.lines.host import host_server
from api.mcp.app import ENVELOPE, Endpoint, with_mcp
from api.operations.base import Call
from api.sockets.listener import bind
from api.sockets.principals import Operator
from meta.config import Config
from meta.layout import Layout

if TYPE_CHECKING:
    from reconciler.service import Service


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
        await stack.enter_async_context(serving(with_mcp(app, endpoint), http, service.background))
        try:
            yield
        finally:
            stopping.set()
            endpoint.stop()
