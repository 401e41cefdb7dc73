"""The SDK's side of `/mcp`: one server a principal. The only module that imports `mcp`, and it is imported late."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from api.http.asgi import Receive, Scope, Send
from api.mcp.instructions import instructions
from api.mcp.request import VISIT, Visit
from api.mcp.tools import ENDS, READS, Answer, Gone, ToolView, call_tool, refused, tools_for
from api.operations.base import Call

Context = ServerRequestContext[Any]

# What a peer sends wrong is told to that peer; here it would let an agent fill the daemon's log.
logging.getLogger("mcp").setLevel(logging.ERROR)


class Engine:
    """Answers the HTTP requests of one principal. `run` it beside; `handle` waits until it runs."""

    def __init__(self, call: Call, agents: Callable[[], list[str]], limit: int) -> None:
        self._call = call
        self._agents = agents
        self._ready = asyncio.Event()
        self._server: Server[Any] = Server(
            "hive",
            version=call.service.revision,
            on_list_tools=self._list,
            on_call_tool=self._tool,
        )
        self._manager = StreamableHTTPSessionManager(
            self._server,
            stateless=True,
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=limit,
        )

    async def run(self) -> None:
        """Until cancelled."""
        try:
            with contextlib.suppress(asyncio.CancelledError):
                async with self._manager.run():
                    self._ready.set()
                    await asyncio.Event().wait()
        finally:
            self._ready.set()  # a request that waits for an engine that cannot run fails, and does not wait for ever

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, whose Visit is in the scope's state."""
        await self._ready.wait()
        self._server.instructions = instructions(self._call.name, self._call.role, self._agents())
        await self._manager.asgi_app(scope, receive, send)

    async def _list(self, _context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_described(tool) for tool in tools_for(self._call.role).values()])

    async def _tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        if context.request is None:
            raise MCPError(INVALID_PARAMS, "a tool is called over HTTP only")
        visit: Visit = context.request.scope["state"][VISIT]
        visit.request_id = context.request_id
        if visit.refusal is not None:
            return _result(await refused(visit.call, visit.refusal))
        if params.name not in tools_for(self._call.role):
            raise MCPError(INVALID_PARAMS, f"there is no tool {params.name[:60]!r}")
        try:
            answer = await call_tool(visit.call, params.name, params.arguments or {}, visit.gone)
        except Gone:
            answer = Answer(("error: cancelled; what was waited for is kept",), error=True)
        return _result(answer)


def _result(answer: Answer) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text) for text in answer.texts], is_error=answer.error)


def _described(tool: ToolView) -> Tool:
    reads = tool.name in READS
    return Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.arguments.schema,
        annotations=ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=None if reads else tool.name in ENDS,
            open_world_hint=False,
        ),
    )
