"""The agent's side of the line protocol: one JSON object per line and direction, one answer per request.

The long poll has a connection of its own. Whenever that is new, messages that were handed out and not acknowledged are
asked for again first: one of them may have been lost on the way, and at this point no turn is under way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from harness.runtimes.base import Message
from harness.sockets import Backoff, connect
from meta.errors import PermanentError

log = logging.getLogger(__name__)

WAIT_SECONDS = 30
_ANSWER_SECONDS = 60.0
_QUICK_SECONDS = 1.0

Answer = dict[str, object]


class ProtocolError(OSError):
    """The other side broke the line protocol; the connection is given up."""


class Lines:
    """One connection that carries a request and its answer at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """False before the first request and after every failure."""
        return self._streams is not None

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def exchange(self, request: Mapping[str, object]) -> Answer:
        """Send `request`, return the answer. OSError when the connection fails; it is dropped then."""
        async with self._turn:
            done = False
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer = await self._exchange(request)
                done = True
            finally:
                if not done:  # also when cancelled: a late answer must not meet the next request
                    self.close()
            return answer

    async def insist(self, request: Mapping[str, object]) -> Answer:
        """The same, again and again until there is an answer (a daemon restart takes seconds)."""
        backoff = Backoff()
        while True:
            try:
                return await self.exchange(request)
            except OSError as error:
                log.debug("%s: %s", request.get("cmd"), error)
            await backoff.pause()

    async def _exchange(self, request: Mapping[str, object]) -> Answer:
        if self._streams is None:
            self._streams = await connect(self._path)
        reader, writer = self._streams
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        try:
            line = await reader.readline()
            answer = json.loads(line) if line.endswith(b"\n") else None
        except ValueError as error:
            raise ProtocolError(f"the answer is no line of JSON: {error}") from error
        if not isinstance(answer, dict) or not isinstance(answer.get("kind"), str):
            raise ProtocolError("the connection was closed" if answer is None else "the answer has no kind")
        return answer


class Inbox:
    """Messages in, requests out."""

    def __init__(self, path: Path) -> None:
        self._poll = Lines(path)
        self._calls = Lines(path)
        self._backoff = Backoff()

    def close(self) -> None:
        """Drop both connections."""
        self._poll.close()
        self._calls.close()

    async def receive(self) -> Message:
        """The next message; waits for it as long as it takes. Only between turns."""
        while True:
            began = time.monotonic()
            try:
                if not self._poll.connected:
                    _require_ok(await self._poll.exchange({"cmd": "requeue_inflight"}))
                answer = await self._poll.exchange({"cmd": "recv", "wait_seconds": WAIT_SECONDS})
                message = _message(answer)
            except (OSError, PermanentError) as error:
                log.debug("recv: %s", error)
                self._poll.close()
                await self._backoff.pause()
                continue
            if message is not None:
                self._backoff.reset()
                return message
            if time.monotonic() - began < _QUICK_SECONDS:  # hive lets nobody wait while it drains or stops
                await self._backoff.pause()
            else:
                self._backoff.reset()

    async def acknowledge(self) -> None:
        """The turn is over: what was handed out does not come again."""
        _require_ok(await self._calls.insist({"cmd": "ack_turn"}))

    async def send(self, to: str, body: str) -> None:
        """Send a message; PermanentError with hive's words when it is refused."""
        _require_ok(await self._calls.insist({"cmd": "send", "to": to, "body": body}))

    async def request_apply_commit(self, agent: str, commit_ref: str, description: str) -> None:
        """Ask for the approval of a commit (the manager only); PermanentError with hive's words."""
        request = {"cmd": "request_apply_commit", "agent": agent, "commit_ref": commit_ref}
        _require_ok(await self._calls.insist({**request, "description": description} if description else request))


def _require_ok(answer: Answer) -> None:
    if answer["kind"] == "err":
        raise PermanentError(str(answer.get("message", "hive refused without a reason")))


def _message(answer: Answer) -> Message | None:
    """The delivery in an answer to recv, None for `empty`."""
    _require_ok(answer)
    if answer["kind"] != "message":
        return None
    sender, body, id = answer.get("from"), answer.get("body"), answer.get("id", 0)
    if not isinstance(sender, str) or not isinstance(body, str) or not isinstance(id, int):
        raise ProtocolError("a message without sender, body or id")
    return Message(_whole(sender), _whole(body), id, redelivered=answer.get("redelivered") is True)


def _whole(text: str) -> str:
    """`text` without halves of a character, which JSON can carry and nothing can write."""
    return text.encode("utf-8", "replace").decode("utf-8")
