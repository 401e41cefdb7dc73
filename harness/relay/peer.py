"""One end of HTTP/1.1 on a stream, for what the loopback port of the tools reads and answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import h11

from harness.relay.listener import CHUNK, linger

HEAD_BYTES = 16_384


class Peer:
    """One end of HTTP/1.1 on a stream."""

    def __init__(self, role: type[h11.CLIENT | h11.SERVER], streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]):
        self.http = h11.Connection(role, max_incomplete_event_size=HEAD_BYTES)
        self.reader, self.writer = streams

    async def receive(self) -> object:
        """Return the next event of h11. RemoteProtocolError if the bytes are not HTTP."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(CHUNK))
        return event

    async def send(self, *events: h11.Event) -> None:
        """Write the events, no faster than the other end reads."""
        for event in events:
            if data := self.http.send(event):
                self.writer.write(data)
        await self.writer.drain()

    async def ask_for_body(self) -> None:
        """Ask for the body of the request, if the other end waits for that."""
        if self.http.they_are_waiting_for_100_continue:
            await self.send(h11.InformationalResponse(status_code=100, headers=[]))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the port itself: one line of text."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Disconnected(Exception):
    """The CLI is gone."""


async def answer_with(client: Peer, refusal: Refusal) -> None:
    """Answer with one line, and end the connection. If an answer has begun, only end it."""
    if client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        raise ConnectionResetError("the answer broke off")
    text = f"{refusal.text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode("ascii")),
        (b"connection", b"close"),
        *refusal.headers,
    ]
    await client.send(
        h11.Response(status_code=refusal.status, headers=headers), h11.Data(data=text), h11.EndOfMessage()
    )
    await linger(client.reader, client.writer)
