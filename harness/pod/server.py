"""`pod.sock`: JSON lines of the pod protocol, for up to CLIENTS clients at a time.

Each client gets the notifications of the past once, and then every event. The answer to a method goes to its asker
alone: an error, or a history. It has the `id` of the request if that had one; so has the line `accepted`, which only
says to such a client that there is no error.

A client that does not read is cut off. Nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import stat
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.pod.pod import Refusal
from meta.errors import HiveError
from meta.wire import pod
from meta.wire.codec import decode, encode

log = logging.getLogger(__name__)

SOCKET = "pod.sock"
CLIENTS = 32
LINE_BYTES = 256 * 1024
"""The longest line of a client."""
INLINE_BYTES = 4 * 1024
"""A longer line is parsed in a thread."""
UNREAD_BYTES = 4 * 2**20
"""What waits for one client, at most."""
NOTIFICATIONS = 512
"""Notifications that a client gets at its start, at most."""
ID_LENGTH = 64

METHOD: TypeAdapter[pod.Method] = TypeAdapter(pod.Method)
_ACCEPTED = "accepted"

Answer = Refusal | pod.History | None
Handler = Callable[[pod.Method], Awaitable[Answer]]


class Clients:
    """The connections of one pod."""

    def __init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        self._past: deque[bytes] = deque(maxlen=NOTIFICATIONS)
        self.cut_off = 0
        """Clients that did not read, so far."""

    def emit(self, event: pod.Event) -> None:
        """Send an event to every client. It neither waits nor raises."""
        kept = isinstance(event, pod.NotificationEvent)
        if not self._writers and not kept:
            return
        line = encode(event) + b"\n"
        if kept:
            self._past.append(line)
        for writer in tuple(self._writers):
            self._send(writer, line)

    def join(self, writer: asyncio.StreamWriter) -> None:
        """Begin to send events, after the notifications of the past."""
        self._writers.add(writer)
        self._send(writer, b"".join(self._past))

    def leave(self, writer: asyncio.StreamWriter) -> None:
        """End it."""
        self._writers.discard(writer)

    @property
    def full(self) -> bool:
        """Return True if no more client can join."""
        return len(self._writers) >= CLIENTS

    def answer(self, writer: asyncio.StreamWriter, answer: Answer, id: int | str | None) -> None:
        """Send an answer to its asker alone."""
        match answer:
            case None if id is None:
                return
            case None:
                value: Any = {"event": _ACCEPTED}
            case Refusal(code=code, text=text):
                value = pod.ErrorEvent(data=pod.ErrorData(code=code, message=text)).model_dump(mode="json")
            case history if id is None:
                self._send(writer, encode(history) + b"\n")
                return
            case history:
                value = history.model_dump(mode="json", by_alias=True)
        if id is not None:
            value["id"] = id
        self._send(writer, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if not data or writer.is_closing():
            return
        writer.write(data)
        transport = writer.transport
        if transport.get_write_buffer_size() > UNREAD_BYTES:
            self.cut_off += 1
            self.leave(writer)
            transport.abort()
            log.warning("a client of the pod does not read: it is cut off")


@contextlib.asynccontextmanager
async def serve_pod(folder: Path, clients: Clients, do: Handler, name: str = SOCKET) -> AsyncIterator[Path]:
    """Serve the pod's socket in the block, for its owner and the folder's group. Raise OSError."""
    path = folder / name
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            connections.add(task)
            task.add_done_callback(connections.discard)
        try:
            await _serve_client(reader, writer, clients, do)
        except OSError as error:
            log.debug("a client of the pod broke off: %s", error)
        except asyncio.CancelledError:  # the end of the server; asyncio logs a handler that was cancelled as an error
            log.debug("a client of the pod is closed")
        finally:
            clients.leave(writer)
            writer.close()

    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):  # of a harness that ended without removing it
            path.unlink()
    server = await asyncio.start_unix_server(connected, path, limit=LINE_BYTES)
    try:
        path.chmod(0o666)  # its folder is closed to all but the harness and hive
        yield path
    finally:
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        path.unlink(missing_ok=True)


async def _serve_client(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clients: Clients, do: Handler
) -> None:
    if clients.full:
        clients.answer(writer, Refusal(pod.ErrorCode.INTERNAL, f"{CLIENTS} clients are connected already"), None)
        await writer.drain()
        return
    clients.join(writer)
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            clients.answer(writer, Refusal(pod.ErrorCode.INTERNAL, f"a line has more than {LINE_BYTES} bytes"), None)
            await writer.drain()
            return
        if line.strip():
            await _serve_line(line, writer, clients, do)


async def _serve_line(line: bytes, writer: asyncio.StreamWriter, clients: Clients, do: Handler) -> None:
    id: int | str | None = None
    try:
        id, method = _parse(line) if len(line) <= INLINE_BYTES else await asyncio.to_thread(_parse, line)
        answer: Answer = method if isinstance(method, Refusal) else await do(method)
    except HiveError as error:
        answer = Refusal(pod.ErrorCode.INTERNAL, error.summary)
    except Exception as error:
        log.exception("a method of a client failed")
        answer = Refusal(pod.ErrorCode.INTERNAL, f"the harness failed: {type(error).__name__}")
    clients.answer(writer, answer, id)


def _parse(line: bytes) -> tuple[int | str | None, pod.Method | Refusal]:
    """Return the request's id, and the method or why it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    id = value.get("id") if isinstance(value, dict) else None
    if not (type(id) is int and abs(id) < 2**63) and not (isinstance(id, str) and len(id) <= ID_LENGTH):
        id = None
    try:
        return id, decode(METHOD, line)
    except HiveError as error:
        return id, Refusal(pod.ErrorCode.INTERNAL, f"this is no method: {error.summary}"[:500])
