"""The harness's end of `mcp.sock`: take messages, acknowledge turns, send.

A call is tried again over a new connection until it is answered, so what is sent arrives at least once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.connect import Backoff, Streams, connect
from meta.errors import Refused, TransientError
from meta.wire.agent import (
    AGENT_RESPONSE,
    AckTurn,
    AgentRequest,
    AgentResponse,
    EmptyResponse,
    ErrResponse,
    MessageResponse,
    Recv,
    RequeueInflight,
    Send,
)
from meta.wire.codec import decode, encode

if TYPE_CHECKING:
    from meta.wire.manager import ManagerRequest, ManagerResponse

    Request = AgentRequest | ManagerRequest
    Response = AgentResponse | ManagerResponse

log = logging.getLogger(__name__)

RECV_SECONDS = 30
"""How long hive may hold back the answer to `recv`."""
ANSWER_SECONDS = 30.0
"""How long any other answer may take before the connection counts as dead."""


class Lost(TransientError):
    """The connection ended before the answer."""


class Inbox:
    """One connection, made when it is needed; one call at a time."""

    def __init__(self, path: Path, *, manager: bool) -> None:
        self._path = path
        self._streams: Streams | None = None
        self._backoff = Backoff()
        self._lock = asyncio.Lock()
        self._unsure = True
        self._decode = _decoder(manager=manager)

    async def recv(self) -> MessageResponse | None:
        """One message, or None when none came for a while. Lost when the connection broke; call again.

        First, at boot and whenever the answer to a `recv` may have been lost on the way, everything in flight is put
        back: no turn is under way here, so nothing else can be in flight.
        """
        async with self._lock:
            if self._unsure:
                self._expect(await self._answered(RequeueInflight()))
            self._unsure = True
            response = await self._once(Recv(wait_seconds=RECV_SECONDS), RECV_SECONDS + ANSWER_SECONDS)
            self._unsure = False
        if isinstance(response, MessageResponse):
            return response
        if not isinstance(response, EmptyResponse):
            self._expect(response)
        return None

    def put_back(self) -> None:
        """What is in flight is to be delivered again with the next `recv`."""
        self._unsure = True

    async def ack(self) -> None:
        """The turn was good: what was taken is handled."""
        await self.call(AckTurn())

    async def send(self, to: str, body: str) -> None:
        """Send a message; Refused with hive's reason."""
        await self.call(Send(to=to, body=body))

    async def call(self, request: Request) -> Response:
        """The answer to `request`; Refused when it is an error."""
        async with self._lock:
            response = await self._answered(request)
        self._expect(response)
        return response

    def close(self) -> None:
        """Drop the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _expect(self, response: Response) -> None:
        if isinstance(response, ErrResponse):
            raise Refused(response.message)

    async def _answered(self, request: Request) -> Response:
        while True:
            try:
                return await self._once(request, ANSWER_SECONDS)
            except Lost as error:
                log.info("%s: %s, trying again", request.cmd, error.summary)
                await self._backoff.wait()

    async def _once(self, request: Request, seconds: float) -> Response:
        """One try. Whatever interrupts it, a late answer must not be taken for the next one: the connection goes."""
        line = encode(request) + b"\n"
        try:
            if self._streams is None:
                self._streams = await connect(self._path, self._backoff)
            reader, writer = self._streams
            async with asyncio.timeout(seconds):
                writer.write(line)
                await writer.drain()
                answer = await reader.readline()
            if not answer.endswith(b"\n"):
                raise Lost("hive closed the connection")
            response = self._decode(answer)
        except (OSError, ValueError, TimeoutError) as error:
            self.close()
            raise Lost(f"the connection to hive broke: {error or 'no answer'}") from error
        except BaseException:
            self.close()
            raise
        self._backoff.reset()
        return response


def _decoder(*, manager: bool) -> Callable[[bytes], Response]:
    if not manager:
        return lambda line: decode(AGENT_RESPONSE, line)
    from meta.wire.manager import MANAGER_RESPONSE  # an agent need not wait until these types are built

    return lambda line: decode(MANAGER_RESPONSE, line)
