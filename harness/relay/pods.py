"""The tools for sub-agents at `/pods` of the loopback port: one body is read, answered by harness.subagents.mcp."""

from __future__ import annotations

import asyncio

import h11

from harness.relay.peer import Disconnected, Peer, Refusal
from harness.subagents.mcp import BODY_BYTES, answer
from harness.subagents.tools import SubAgents

CALLS = 8
"""The limit of requests at the same time; others wait."""
BODY_SECONDS = 10.0
"""Seconds that the body of a request may take."""


class PodTools:
    """The tools for sub-agents, done by this harness."""

    methods = (b"POST",)

    def __init__(self, agents: SubAgents) -> None:
        self._agents = agents
        self._slots = asyncio.Semaphore(CALLS)

    async def call(self, client: Peer, request: h11.Request) -> Refusal | None:
        """Answer one request. Return what to answer instead if its body is none.

        A call that has begun is done, even if the CLI goes away meanwhile: half of a spawn would help nobody.
        """
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(client)
        except TimeoutError:
            return Refusal(408, f"the request's body took longer than {BODY_SECONDS:g} s")
        except h11.RemoteProtocolError as error:
            return Refusal(error.error_status_hint, "the request's body is not HTTP/1.1")
        if body is None:
            return Refusal(413, f"the request's body has more than {BODY_BYTES} bytes")
        async with self._slots:
            status, data = await answer(body, self._agents)
        headers = [(b"content-type", b"application/json")] if data else []
        headers.append((b"content-length", str(len(data)).encode("ascii")))
        parts = [h11.Data(data=data)] if data else []
        await client.send(h11.Response(status_code=status, headers=headers), *parts, h11.EndOfMessage())
        return None


async def _body(client: Peer) -> bytes | None:
    """Return the body of the request; None if it is too long."""
    await client.ask_for_body()
    body = b""
    while not isinstance(event := await client.receive(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise Disconnected
        if len(body) + len(event.data) > BODY_BYTES:
            return None
        body += event.data
    return body
