"""One connection of an agent's socket, from its first byte to its last."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from meta.network.verdict import Verdict
from reconciler.egress import forward
from reconciler.egress.client_hello import ALERT
from reconciler.egress.gate import AgentGate
from reconciler.egress.head import ESTABLISHED, Target, is_connect, parse_connect, refusal_answer
from reconciler.egress.limits import ANSWER_SECONDS, HEAD_LIMIT, HEAD_SECONDS, STREAM_LIMIT
from reconciler.egress.ports import TUNNEL, Denied, Streams
from reconciler.egress.sni import HelloGuard
from reconciler.egress.tunnel import Carrier, Tunnel

PLAIN_PORT = 80
_READ = 16 * 1024


async def serve_connection(client: socket.socket, gate: AgentGate, carrier: Carrier) -> None:
    """Serve a connection to its end, and close it."""
    with contextlib.closing(client):
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                data = await _read_until_known(client)
                target = await _read_target(client, data) if is_connect(data) else None
        except TimeoutError:
            denied = Denied(Verdict.LIMIT, "the-head-of-the-request-did-not-come-in-time")
            gate.refuse(TUNNEL, "", 0, denied)
            await _answer(client, refusal_answer(denied))
        except Denied as denied:
            gate.refuse(TUNNEL, "", 0, denied)
            await _answer(client, refusal_answer(denied))
        except (OSError, EOFError):
            return
        else:
            await _serve(client, gate, carrier, data, target)


async def refuse_connection(client: socket.socket, denied: Denied) -> None:
    """Answer a connection that is not served, once its request is there: before, the client would not read it."""
    with contextlib.closing(client), contextlib.suppress(OSError, EOFError, TimeoutError, Denied):
        async with asyncio.timeout(ANSWER_SECONDS):
            if is_connect(data := await _read_until_known(client)):
                await _read_target(client, data)
        await _answer(client, refusal_answer(denied))


async def _serve(client: socket.socket, gate: AgentGate, carrier: Carrier, data: bytes, target: Target | None) -> None:
    if target is None:
        await _forward(client, gate, data)
        return
    try:
        if target.port == PLAIN_PORT:
            host = gate.decide(target.host, target.port)
            await asyncio.get_running_loop().sock_sendall(client, ESTABLISHED)
            await _forward(client, gate, target.rest, host)
        else:
            await _tunnel(client, gate, carrier, target)
    except Denied as denied:
        await _answer(client, refusal_answer(denied))
    except OSError:
        return


async def _tunnel(client: socket.socket, gate: AgentGate, carrier: Carrier, target: Target) -> None:
    dialled = await gate.connect(target.host, target.port)
    guard = HelloGuard(gate, dialled.host, target.port)
    with (
        contextlib.closing(dialled.connection),
        gate.account(TUNNEL, dialled.host, target.port, private=dialled.private) as entry,
    ):
        await asyncio.get_running_loop().sock_sendall(client, ESTABLISHED)
        tunnel = Tunnel(client, dialled.connection, entry, gate.pacer, carrier, guard)
        await tunnel.run(target.rest, wait_for_client=guard.required)
        if entry.denied is not None and guard.tls:
            await _answer(client, ALERT)


async def _forward(client: socket.socket, gate: AgentGate, head: bytes, host: str = "") -> None:
    """Hand the connection over as streams: it is HTTP."""
    streams: Streams = await asyncio.open_unix_connection(sock=client, limit=STREAM_LIMIT)
    try:
        if host:
            await forward.serve_port_80(streams, gate, host, head)
        else:
            await forward.serve_requests(streams, gate, head)
        # the caller closes the socket under the transport, which may still have bytes for a client that reads slowly
        streams[1].close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await streams[1].wait_closed()
    finally:
        streams[1].transport.abort()


async def _read_until_known(client: socket.socket) -> bytes:
    """Read until it is clear if the connection begins with CONNECT."""
    data = b""
    while is_connect(data) is None:
        data += await _read(client)
    return data


async def _read_target(client: socket.socket, data: bytes) -> Target:
    while (target := parse_connect(data)) is None:
        data += await _read(client)
        if len(data) > HEAD_LIMIT + _READ:
            raise Denied(Verdict.BAD_REQUEST, f"the-head-is-longer-than-{HEAD_LIMIT}-bytes")
    return target


async def _read(client: socket.socket) -> bytes:
    data = await asyncio.get_running_loop().sock_recv(client, _READ)
    if not data:
        raise EOFError
    return data


async def _answer(client: socket.socket, data: bytes) -> None:
    """Send the last bytes. A client that does not take them gets none."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.get_running_loop().sock_sendall(client, data)
