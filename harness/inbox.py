"""The harness's end of `mcp.sock`: take messages, acknowledge turns, send.

A call is retried over a new connection until hive answers. So a message arrives at least once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
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
    Status,
    StatusResponse,
)
from meta.wire.codec import decode, encode

if TYPE_CHECKING:  # only the manager imports these types at run time: building them delays its first turn
    from meta.wire.manager import ManagerRequest, ManagerResponse

    Request = AgentRequest | ManagerRequest
    Response = AgentResponse | ManagerResponse

log = logging.getLogger(__name__)

RECV_SECONDS = 30
"""Seconds that hive may wait before it answers a `recv`."""
ANSWER_SECONDS = 30.0
"""Seconds that every other answer may take before the connection counts as dead."""
CONNECT_SECONDS = 2.0
"""Seconds that a connection may take during a turn. The end of the turn waits for that."""
UNREAD_SECONDS = 2.0
"""Seconds that the number of waiting messages may take, which no turn waits for longer."""


class ConnectionLost(TransientError):
    """The connection broke before the answer."""


class Inbox:
    """One connection, opened when it is needed. One call at a time."""

    def __init__(self, path: Path, *, manager: bool) -> None:
        self._path = path
        self._streams: Streams | None = None
        self._backoff = Backoff()
        self._lock = asyncio.Lock()
        self._must_requeue = True
        self._decode = _decoder(manager=manager)

    async def recv(self) -> MessageResponse | None:
        """Return one message, or None if none came for a while.

        Raise ConnectionLost if the connection broke; then call again.

        Requeue everything in flight first: at boot, and if the answer to a `recv` may have been lost. No turn runs
        meanwhile, so nothing else is in flight.
        """
        async with self._lock:
            if self._must_requeue:
                self._check(await self._retry(RequeueInflight()))
            self._must_requeue = True
            response = await self._try(Recv(wait_seconds=RECV_SECONDS), RECV_SECONDS + ANSWER_SECONDS)
            self._must_requeue = False
        if isinstance(response, MessageResponse):
            return response
        if not isinstance(response, EmptyResponse):
            self._check(response)
        return None

    async def look(self) -> MessageResponse | None:
        """Return one more message during a turn, or None if none waits. It belongs to the same acknowledgement.

        If the connection breaks meanwhile, `uncertain` is True: a message may be in flight that nobody has.
        """
        async with self._lock:
            if self._must_requeue or not await self._connected(CONNECT_SECONDS):
                return None
            self._must_requeue = True
            try:
                response = await self._try(Recv(wait_seconds=0), ANSWER_SECONDS)
            except ConnectionLost as error:
                log.info("looking for messages: %s", error.summary)
                return None
            self._must_requeue = False
        return response if isinstance(response, MessageResponse) else None

    @property
    def uncertain(self) -> bool:
        """Return True if a message may be in flight that was not received: then nothing may be acknowledged."""
        return self._must_requeue

    async def unread(self) -> int | None:
        """Return how many messages wait, or None if hive does not answer soon."""
        async with self._lock:
            try:
                response = await self._once(Status(), UNREAD_SECONDS)
            except (ConnectionLost, TimeoutError):
                return None
        return response.unread if isinstance(response, StatusResponse) else None

    async def give_back(self) -> None:
        """Requeue what is in flight, as a failed turn: hive counts it. Retry until hive answers."""
        async with self._lock:
            self._must_requeue = True
            self._check(await self._retry(RequeueInflight()))
            self._must_requeue = False

    def released(self) -> None:
        """Record that hive took back everything in flight (`release` of the link)."""
        self._must_requeue = False

    async def ack(self) -> None:
        """Acknowledge everything taken since the last acknowledgement."""
        await self.call(AckTurn())

    async def send(self, to: str, body: str) -> None:
        """Send a message. Raise Refused, with hive's reason, if hive rejects it."""
        await self.call(Send(to=to, body=body))

    async def call(self, request: Request) -> Response:
        """Return the answer to `request`. Raise Refused if the answer is an error."""
        async with self._lock:
            response = await self._retry(request)
        self._check(response)
        return response

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _check(self, response: Response) -> None:
        if isinstance(response, ErrResponse):
            raise Refused(response.message)

    async def _retry(self, request: Request) -> Response:
        while True:
            try:
                return await self._try(request, ANSWER_SECONDS)
            except ConnectionLost as error:
                log.info("%s: %s, retrying", request.cmd, error.summary)
                await self._backoff.wait()

    async def _connected(self, seconds: float) -> bool:
        """Return True if there is a connection, after at most `seconds` to make one."""
        if self._streams is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    self._streams = await connect(self._path, self._backoff)
        return self._streams is not None

    async def _once(self, request: Request, seconds: float) -> Response:
        """Do `_try` in at most `seconds`, the connection included."""
        async with asyncio.timeout(seconds):
            return await self._try(request, seconds)

    async def _try(self, request: Request, seconds: float) -> Response:
        """Send `request` once and return the answer. Close the connection on every interruption.

        Otherwise the next request could get a late answer to this one.
        """
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
                raise ConnectionLost("hive closed the connection")
            response = self._decode(answer)
        except (OSError, ValueError, TimeoutError) as error:
            self.close()
            raise ConnectionLost(f"the connection to hive broke: {error or 'no answer'}") from error
        except BaseException:
            self.close()
            raise
        self._backoff.reset()
        return response


def _decoder(*, manager: bool) -> Callable[[bytes], Response]:
    if not manager:
        return lambda line: decode(AGENT_RESPONSE, line)
    from meta.wire.manager import MANAGER_RESPONSE  # building these types takes time: an agent does without

    return lambda line: decode(MANAGER_RESPONSE, line)
