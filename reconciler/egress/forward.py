"""What an agent asks that is no tunnel: plain HTTP by absolute form, by CONNECT to port 80, and the key face."""

from __future__ import annotations

from reconciler.egress.ports import Gate, Streams

_ANSWER = b"HTTP/1.1 501 plain-http-is-not-forwarded\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def serve_requests(client: Streams, gate: Gate, head: bytes) -> None:
    """Serve the requests of a connection that does not begin with CONNECT.

    `head` has the bytes that were read so far: at least eight, perhaps not the whole head, perhaps more. The caller
    closes the connection.
    """
    await _answer(client)


async def serve_port_80(client: Streams, gate: Gate, host: str, head: bytes) -> None:
    """Serve the requests behind a CONNECT to port 80 of `host`, which the gate has allowed and which was answered 200.

    `host` is canonical; `head` has the bytes that came behind the head of the CONNECT. The caller closes the
    connection.
    """
    await _answer(client)


async def _answer(client: Streams) -> None:
    client[1].write(_ANSWER)
    await client[1].drain()
