"""The ASGI application for `/mcp`: all that there is behind the `http.sock` of an agent, and a part of the operator's.

Only a POST is served: the server is stateless and never speaks first. The body is read whole, within bounds, before
the SDK sees the request; from then on the door watches whether the peer is still there.
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
from api.mcp import overlong
from api.mcp.limits import MOST, too_heavy
from api.mcp.request import VISIT, Visit
from api.operations.base import Call
from api.sockets.budget import FREE, Hold, Share, refusal
from api.sockets.principals import Operator, Principal
from meta.errors import BadInput, HiveError, NotFound, Refused, TransientError

if TYPE_CHECKING:
    from api.mcp.engine import Engine

log = logging.getLogger(__name__)

PATHS = frozenset({"/mcp", "/mcp/"})
ENVELOPE = 16 * 1024
"""Bytes around the arguments of a call."""
BODY_DEADLINE = 30.0
"""Seconds that a peer may take to send a request's body."""
_CANCELLED = b"notifications/cancelled"


class Door:
    """One principal's way to its tools. `admit` decides by the peer's uid; `limit` is in bytes of a request's body."""

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
        self._visits: set[Visit] = set()
        self._engine: Engine | None = None
        self._running: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        hold = Hold(self._share)
        try:
            await self._answer(scope, receive, send, hold)
        finally:
            hold.resize(0)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, hold: Hold) -> None:
        body = await self._body(scope, receive, hold)
        if body is None:  # the peer left
            return
        if isinstance(body, HiveError):
            late = isinstance(body, TransientError) and body.retry_after is None
            await _refuse(send, body, 413 if isinstance(body, BadInput) else 408 if late else None)
            return
        if isinstance(body, overlong.Overlong):
            call = body.substitute(dict(scope["headers"]))
            if call is None:
                await _refuse(send, self._too_long(), 413)
            else:
                await self._serve(_with_length(scope, len(call)), call, receive, send, self._too_long())
            return
        if await too_heavy(body):
            await _refuse(send, BadInput(f"the request has more than {MOST} values", "send less in one request"), 413)
            return
        self._cancel(body)
        await self._serve(scope, body, receive, send)

    def release(self) -> None:
        """Accept no more requests, and let those that wait end at once."""
        self._closed = True
        for visit in self._visits:
            visit.gone.set()

    async def close(self) -> None:
        """Release, and end the engine."""
        self.release()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    def _principal(self, scope: Scope) -> Principal:
        """Who asks: the socket's own principal; of the operator also the uid is recorded."""
        principal = self._call.principal
        return Operator(_uid(scope)) if isinstance(principal, Operator) else principal

    def _refusal(self, scope: Scope) -> tuple[HiveError, int | None] | None:
        uid = _uid(scope)
        if not self._admit(uid):
            return Refused(f"uid {uid} may not use this socket"), None
        if scope["path"] not in PATHS:
            return NotFound(f"there is no {scope['path'][:200]!r} on this socket", "it carries /mcp only"), None
        if scope["method"] != "POST":
            return BadInput(f"/mcp takes POST, not {scope['method'][:20]}", "there is no stream and no session"), 405
        return (TransientError("hive is stopping", "ask again soon", 1.0), None) if self._closed else None

    def _too_long(self) -> BadInput:
        return BadInput(
            f"the request is longer than {self._limit} bytes", "send less in one request; put long texts into files"
        )

    async def _body(self, scope: Scope, receive: Receive, hold: Hold) -> bytes | overlong.Overlong | HiveError | None:
        """The whole body, or its ends where it is too long; None when the peer left, an error when it is far too long
        or too slow, or when the daemon keeps too much. `hold` counts what is kept; it can be dropped until it is whole.
        """
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        most = self._limit * overlong.MOST
        if int(announced) > most:  # digits: h11 has checked it
            return self._too_long()
        body, ends, length = bytearray(), overlong.Overlong(), 0
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
        """Peers of the older protocol cancel with a request of its own."""
        if _CANCELLED not in body:
            return
        try:
            given = json.loads(body)
            cancelled = given["params"]["requestId"] if given["method"] == _CANCELLED.decode() else None
        except (ValueError, LookupError, TypeError, RecursionError):
            return
        for visit in self._visits if cancelled is not None else ():
            if visit.request_id == cancelled:
                visit.gone.set()

    async def _serve(
        self, scope: Scope, body: bytes, receive: Receive, send: Send, refusal: HiveError | None = None
    ) -> None:
        engine = await self._opened()
        visit = Visit(replace(self._call, principal=self._principal(scope), after=[]), refusal=refusal)
        scope["state"] = {VISIT: visit}
        left = asyncio.ensure_future(_left(receive))
        left.add_done_callback(lambda _: visit.gone.set())
        unread, written = [body], False

        async def replay() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            await asyncio.wait({left})
            return {"type": "http.disconnect"}

        async def write(message: Message) -> None:
            nonlocal written
            there = not left.done()
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                written = there

        self._visits.add(visit)
        try:
            await engine.handle(scope, replay, write)
        finally:
            self._visits.discard(visit)
            visit.gone.set()
            left.cancel()
            await visit.settle(written)

    async def _opened(self) -> Engine:
        """The engine, made at the first request. The SDK's import takes a second of work: not on the loop."""
        async with self._opening:
            if self._engine is None:
                module = await asyncio.to_thread(importlib.import_module, "api.mcp.engine")
                make = cast("Callable[..., Engine]", module.Engine)
                self._engine = make(self._call, self._call.service.agents, self._limit)
                self._running = asyncio.create_task(self._engine.run(), name=f"mcp {self._call.name}")
                self._running.add_done_callback(self._ended)
            return self._engine

    def _ended(self, running: asyncio.Task[None]) -> None:
        """Drop an engine that ended by itself: the next request makes another one.

        It does not end the daemon, since what an agent sends might bring it about.
        """
        error = None if running.cancelled() else running.exception()
        if self._closed:
            return
        log.error(
            "the tools of %s ended and begin anew",
            self._call.name,
            exc_info=error,
            extra={"limited": f"{self._call.name} tools"},
        )
        self._engine = self._running = None
        for visit in self._visits:
            visit.gone.set()


def beside(app: App, door: Door) -> App:
    """`app`, with `/mcp` answered by `door`."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        at_door = scope["type"] == "http" and scope["path"] in PATHS
        await (door if at_door else app)(scope, receive, send)

    return both


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [
        (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")
    ]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _uid(scope: Scope) -> int | None:
    client = scope["client"]
    return client[1] if client is not None and client[0] == CLIENT else None


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, error: HiveError, status: int | None = None) -> None:
    """Answer with problem details; the connection ends with a request that was not read."""
    problem = problem_of(error)
    problem["status"] = status or problem["status"]
    headers = [(b"content-type", MEDIA_TYPE.encode()), *([(b"allow", b"POST")] if status == 405 else [])]
    content = json.dumps(problem).encode()
    headers += [(b"content-length", str(len(content)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem["status"], "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
