"""`host.sock`: the operator's line protocol, exactly HostRequest and HostResponse. All other operations use HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.lines.connection import LineConnection
from api.lines.dispatch import answer, operation_for
from api.lines.server import LineServer, answer_lines
from api.operations.base import Call, Surface
from api.sockets.listener import Bound
from api.sockets.principals import Operator
from meta.errors import HiveError
from meta.wire import host
from meta.wire.codec import decode, encode

if TYPE_CHECKING:
    from reconciler.service import Service


def host_server(bound: Bound, service: Service, *, limit: int) -> LineServer:
    """Return the server for `host.sock`. The mode of its file decides who may connect; the peer's uid is recorded."""

    async def session(connection: LineConnection) -> None:
        call = Call(service, Operator(connection.uid))

        async def handle(line: bytes) -> bytes:
            request = decode(host.HOST_REQUEST, line)
            return encode(await answer(call, operation_for(Surface.HOST, request), request))

        await answer_lines(connection, handle, fault_line)

    return LineServer(bound, session, limit=limit, fault=fault_line)


def fault_line(error: HiveError) -> bytes:
    """Return an error as this socket reports it."""
    return encode(host.HostResponse(ok=False, error=error.describe()))
