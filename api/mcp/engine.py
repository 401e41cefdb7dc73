"""The SDK's side of `/mcp`: one server per principal.

Only this module imports `mcp`; `app` imports this module late.
"""

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
from api.mcp.request import STATE_KEY, McpRequest
from api.mcp.tools import Answer, Cancelled, ToolView, call_tool, error_answer, tools_for
from api.operations.base import Call, Effect

Context = ServerRequestContext[Any]

# The SDK logs each wrong request, so that an agent could fill the daemon's log. The peer gets the error anyway.
logging.getLogger("mcp").setLevel(logging.ERROR)


class Engine:
    """The SDK's server for one principal. `run` runs in a task of its own; `handle` waits until `run` serves."""

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
        """Serve until cancelled."""
        try:
            with contextlib.suppress(asyncio.CancelledError):
                async with self._manager.run():
                    self._ready.set()
                    await asyncio.Event().wait()
        finally:
            self._ready.set()  # if the engine cannot run, the requests that wait for it fail instead of hanging

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Its McpRequest is in the scope's state."""
        await self._ready.wait()
        self._server.instructions = instructions(self._call.name, self._call.role, self._agents())
        await self._manager.asgi_app(scope, receive, send)

    async def _list(self, _context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_description(tool) for tool in tools_for(self._call.role).values()])

    async def _tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        if context.request is None:
            raise MCPError(INVALID_PARAMS, "a tool is called over HTTP only")
        request: McpRequest = context.request.scope["state"][STATE_KEY]
        request.request_id = context.request_id
        if request.error is not None:
            return _result(await error_answer(request.call, request.error))
        if params.name not in tools_for(self._call.role):
            raise MCPError(INVALID_PARAMS, f"there is no tool {params.name[:60]!r}")
        try:
            answer = await call_tool(request.call, params.name, params.arguments or {}, request.cancelled)
        except Cancelled:
            answer = Answer(("error: cancelled; a message that arrives stays in the inbox",), error=True)
        return _result(answer)


def _result(answer: Answer) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text) for text in answer.texts], is_error=answer.error)


def _description(tool: ToolView) -> Tool:
    effect = tool.operation.effect
    return Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.arguments.schema,
        annotations=ToolAnnotations(
            read_only_hint=effect is Effect.READS,
            destructive_hint=None if effect is Effect.READS else effect is Effect.REMOVES,
            open_world_hint=False,
        ),
    )
