"""The ASGI application for `/mcp`. It is all of an agent's `http.sock`, and a part of the operator's.

Only POST is served: the server is stateless and never sends first. The application reads the whole body, within limits,
before it calls the SDK. From then on it watches for a disconnect.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from api.http.asgi import App, Message, Receive, Scope, Send
from api.http.problems import MEDIA_TYPE, problem_of
from api.http.uds import CLIENT
from api.mcp.limits import MAX_VALUES, READ_FACTOR, LongBody, has_too_many_values
from api.mcp.request import STATE_KEY, McpRequest
from api.operations.base import Call
from api.sockets.budget import FREE, Hold, Share, refusal
from api.sockets.principals import Operator, Principal
from meta.errors import BadInput, HiveError, NotFound, Refused, TransientError

if TYPE_CHECKING:
    from api.mcp.engine import Engine

log = logging.getLogger(__name__)

PATHS = frozenset({"/mcp", "/mcp/"})
ENVELOPE = 16 * 1024
"""Bytes of a request besides the arguments of its call."""
BODY_DEADLINE = 30.0
"""Seconds within which a peer has to send a request's body."""
_CANCELLED = b"notifications/cancelled"


class Endpoint:
    """The MCP endpoint of one principal. `admit` decides by the peer's uid; `limit` is the largest body in bytes."""

    def __init__(
        self,
        call: Call,
        *,
        limit: int,
        admit: Callable[[int | None], bool] = lambda _uid: True,
        share: Share | None = None,
    ) -> None:
        self._share = share
        self._call = call
        self._limit = limit
        self._admit = admit
        self._requests: set[McpRequest] = set()
        self._engine: Engine | None = None
        self._running: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        rejection = self._rejection(scope)
        if rejection is not None:
            await _reject(send, *rejection)
            return
        hold = Hold(self._share)
        try:
            await self._answer(scope, receive, send, hold)
        finally:
            hold.resize(0)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, hold: Hold) -> None:
        body = await self._body(scope, receive, hold)
        if body is None:  # the peer disconnected
            return
        if isinstance(body, HiveError):
            late = isinstance(body, TransientError) and body.retry_after is None
            await _reject(send, body, 413 if isinstance(body, BadInput) else 408 if late else None)
            return
        if isinstance(body, LongBody):
            call = body.substitute(dict(scope["headers"]))
            if call is None:
                await _reject(send, self._too_long(), 413)
            else:
                await self._serve(_with_length(scope, len(call)), call, receive, send, self._too_long())
            return
        if await has_too_many_values(body):
            error = BadInput(f"the request has more than {MAX_VALUES} values", "send less in one request")
            await _reject(send, error, 413)
            return
        self._cancel(body)
        await self._serve(scope, body, receive, send)

    def stop(self) -> None:
        """Reject new requests, and cancel those that wait."""
        self._closed = True
        for request in self._requests:
            request.cancelled.set()

    async def close(self) -> None:
        """Stop, and end the engine."""
        self.stop()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    def _principal(self, scope: Scope) -> Principal:
        """Return the socket's principal. The operator's has the peer's uid, which is recorded."""
        principal = self._call.principal
        return Operator(_uid(scope)) if isinstance(principal, Operator) else principal

    def _rejection(self, scope: Scope) -> tuple[HiveError, int | None] | None:
        uid = _uid(scope)
        if not self._admit(uid):
            return Refused(f"uid {uid} may not use this socket"), None
        if scope["path"] not in PATHS:
            return NotFound(f"there is no {scope['path'][:200]!r} on this socket", "it serves only /mcp"), None
        if scope["method"] != "POST":
            return BadInput(f"/mcp takes POST, not {scope['method'][:20]}", "it has no streams and no sessions"), 405
        return (TransientError("hive is stopping", "try again soon", 1.0), None) if self._closed else None

    def _too_long(self) -> BadInput:
        return BadInput(
            f"the request is longer than {self._limit} bytes", "send less in one request; put long texts into files"
        )

    async def _body(self, scope: Scope, receive: Receive, hold: Hold) -> bytes | LongBody | HiveError | None:
        """Return the whole body; if it is longer than the limit, its ends.

        None means that the peer disconnected. An error is returned if the body is far too long or too slow, or if the
        daemon keeps too much. `hold` counts what is kept; until the body is whole it can be dropped.
        """
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        most = self._limit * READ_FACTOR
        if int(announced) > most:  # h11 has checked that these are digits
            return self._too_long()
        body, ends, length = bytearray(), LongBody(), 0
        try:
            async with asyncio.timeout(BODY_DEADLINE) as deadline:
                hold.drop = lambda: deadline.reschedule(0)
                while True:
                    event = await receive()
                    if event["type"] != "http.request":
                        return None
                    part = event["body"]
                    length += len(part)
                    if length > most:
                        return self._too_long()
                    ends.add(part)
                    if length <= self._limit:
                        body += part
                    else:
                        body = bytearray()
                    if not hold.resize(len(body)):
                        return refusal()
                    if not event["more_body"]:
                        return bytes(body) if length <= self._limit else ends
        except TimeoutError:
            if body and not hold.counted and len(body) > FREE:  # dropped
                return refusal()
            return TransientError(f"the request was not sent within {BODY_DEADLINE:.0f} s", "send it faster")
        finally:
            hold.drop = None

    def _cancel(self, body: bytes) -> None:
        """Cancel another request if this request asks for that. Peers of the older protocol cancel in this way."""
        if _CANCELLED not in body:
            return
        try:
            notification = json.loads(body)
            id = notification["params"]["requestId"] if notification["method"] == _CANCELLED.decode() else None
        except (ValueError, LookupError, TypeError, RecursionError):
            return
        for request in self._requests if id is not None else ():
            if request.request_id == id:
                request.cancelled.set()

    async def _serve(
        self, scope: Scope, body: bytes, receive: Receive, send: Send, error: HiveError | None = None
    ) -> None:
        engine = await self._started_engine()
        request = McpRequest(replace(self._call, principal=self._principal(scope), after=[]), error=error)
        scope["state"] = {STATE_KEY: request}
        disconnect = asyncio.ensure_future(_disconnected(receive))
        disconnect.add_done_callback(lambda _: request.cancelled.set())
        unread, written = [body], False

        async def replay() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            await asyncio.wait({disconnect})
            return {"type": "http.disconnect"}

        async def write(message: Message) -> None:
            nonlocal written
            connected = not disconnect.done()
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                written = connected

        self._requests.add(request)
        try:
            await engine.handle(scope, replay, write)
        finally:
            self._requests.discard(request)
            request.cancelled.set()
            disconnect.cancel()
            await request.finish(written)

    async def _started_engine(self) -> Engine:
        """Return the engine; start it at the first request."""
        async with self._opening:
            if self._engine is None:
                # Importing the SDK takes a second of CPU: not at the daemon's start, which is why this module imports
                # the engine by name and only for its type above, and not on the loop.
                module = await asyncio.to_thread(importlib.import_module, "api.mcp.engine")
                make = cast("Callable[..., Engine]", module.Engine)
                self._engine = make(self._call, self._call.service.names, self._limit)
                self._running = asyncio.create_task(self._engine.run(), name=f"mcp {self._call.name}")
                self._running.add_done_callback(self._on_end)
            return self._engine

    def _on_end(self, running: asyncio.Task[None]) -> None:
        """Drop an engine that ended by itself; the next request starts another one.

        It must not end the daemon: an agent's request might be the cause.
        """
        error = None if running.cancelled() else running.exception()
        if self._closed:
            return
        log.error(
            "the MCP server of %s ended; the next request starts it again",
            self._call.name,
            exc_info=error,
            extra={"limited": f"{self._call.name} tools"},
        )
        self._engine = self._running = None
        for request in self._requests:
            request.cancelled.set()


def with_mcp(app: App, endpoint: Endpoint) -> App:
    """Return `app` with `endpoint` at `/mcp`."""

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        is_mcp = scope["type"] == "http" and scope["path"] in PATHS
        await (endpoint if is_mcp else app)(scope, receive, send)

    return route


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [
        (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")
    ]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _uid(scope: Scope) -> int | None:
    client = scope["client"]
    return client[1] if client is not None and client[0] == CLIENT else None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reject(send: Send, error: HiveError, status: int | None = None) -> None:
    """Answer with problem details, and end the connection, because the request's body may be unread."""
    problem = problem_of(error)
    problem["status"] = status or problem["status"]
    headers = [(b"content-type", MEDIA_TYPE.encode()), *([(b"allow", b"POST")] if status == 405 else [])]
    content = json.dumps(problem).encode()
    headers += [(b"content-length", str(len(content)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem["status"], "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
