"""An agent's `mcp.sock`: AgentRequest or, on the manager's, ManagerRequest. The socket decides who calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from api.lines.connection import LineConnection
from api.lines.decoding import Decoder
from api.lines.dispatch import answer, operation_for
from api.lines.server import LineServer, answer_lines
from api.operations.base import Call, Surface
from api.sockets.budget import Share
from api.sockets.listener import Bound
from api.sockets.principals import principal_of
from meta.errors import HiveError
from meta.names import MANAGER, AgentName
from meta.wire.agent import AGENT_REQUEST, ErrResponse
from meta.wire.codec import decode, encode
from meta.wire.common import Wire
from meta.wire.manager import MANAGER_REQUEST

if TYPE_CHECKING:
    from reconciler.service import Service

CONNECTIONS = 16
"""Most connections to one agent's mcp.sock; a harness needs two."""


def agent_server(
    bound: Bound,
    agent: AgentName,
    service: Service,
    *,
    limit: int,
    admit: Callable[[int | None], bool],
    share: Share | None = None,
) -> LineServer:
    """Return the server for one agent's `mcp.sock`."""
    surface = Surface.MANAGER if agent == MANAGER else Surface.AGENT

    reader = Decoder(_decode_manager if agent == MANAGER else _decode_agent)

    async def session(connection: LineConnection) -> None:
        call = Call(service, principal_of(agent))

        async def handle(line: bytes) -> bytes:
            request = await reader(line)
            bound = operation_for(surface, request)
            work = answer(call, bound, request)
            if bound.operation.waits:  # cancelled when the peer disconnects; puts back what it took
                work = connection.while_connected(work)
            return encode(await work)

        async def written(sent: bool) -> None:
            while call.after:
                await call.after.pop()(sent)

        await answer_lines(connection, handle, fault_line, written)

    return LineServer(bound, session, limit=limit, fault=fault_line, admit=admit, connections=CONNECTIONS, share=share)


def _decode_manager(line: bytes) -> Wire:
    return decode(MANAGER_REQUEST, line)


def _decode_agent(line: bytes) -> Wire:
    return decode(AGENT_REQUEST, line)


def fault_line(error: HiveError) -> bytes:
    """Return an error as these sockets report it."""
    return encode(ErrResponse(message=error.describe()))
