"""An agent's `mcp.sock`: AgentRequest or, on the manager's, ManagerRequest. The socket says who is asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from api.lines.decoding import Decoder
from api.lines.dispatch import answer, spoken, wanted
from api.lines.server import LineConnection, LineServer, answer_lines
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
    from reconciler.agents.lifecycle import Service

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
    """The server for one agent's `mcp.sock`."""
    surface = Surface.MANAGER if agent == MANAGER else Surface.AGENT

    reader = Decoder(_manager if agent == MANAGER else _agent)

    async def session(connection: LineConnection) -> None:
        call = Call(service, principal_of(agent))

        async def handle(line: bytes) -> bytes:
            request = await reader(line)
            waits = wanted(surface, request).waits
            done = answer(call, surface, request)
            # What waits is cancelled when its caller is gone, and puts back what it took; all else is done.
            return encode(await (connection.while_connected(done) if waits else done))

        async def written(sent: bool) -> None:
            while call.after:
                await call.after.pop()(sent)

        await answer_lines(connection, handle, fault_line, written)

    return LineServer(bound, session, limit=limit, fault=fault_line, admit=admit, connections=CONNECTIONS, share=share)


def _manager(line: bytes) -> Wire:
    return decode(MANAGER_REQUEST, line)


def _agent(line: bytes) -> Wire:
    return decode(AGENT_REQUEST, line)


def fault_line(error: HiveError) -> bytes:
    """An error as these sockets answer it."""
    return encode(ErrResponse(message=spoken(error)))
