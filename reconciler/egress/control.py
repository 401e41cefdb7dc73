"""The control socket: the daemon pushes the policy, and reads the report. See `meta.network.control`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from meta.errors import BadInput, HiveError, Refused
from meta.names import AgentName, agent_name
from meta.network.control import (
    LINE_LIMIT,
    WATCH_SECONDS,
    decode_line,
    encode_connections,
    encode_line,
    encode_report,
)
from meta.network.policy import Policy, policy_of
from meta.network.report import ConnectionRecord, Report
from reconciler.egress.changes import Changes

_PATH_LIMIT = 107
_CONNECTIONS = 32
_PROBE_SECONDS = 2.0


class Controlled(Protocol):
    """What the control socket speaks for."""

    async def set_policy(self, policy: Policy) -> str:
        """Keep and obey a policy. Return its revision."""

    def report(self) -> Report:
        """Return the report of now."""

    def connections(self, agent: AgentName, after: int) -> list[ConnectionRecord]:
        """Return the connections of an agent after a number."""


class Control:
    """The server of the control socket. Only root, the process's own user and `uids` may use it."""

    def __init__(self, path: Path, uids: Collection[int], controlled: Controlled, changes: Changes) -> None:
        self._path = path
        self._uids = frozenset({0, os.geteuid(), *uids})
        self._controlled = controlled
        self._changes = changes
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Bind and serve. Raise Refused if another process serves the socket, BadInput if it cannot be bound."""
        if len(os.fsencode(self._path)) > _PATH_LIMIT:
            raise BadInput(f"--control {self._path} is longer than {_PATH_LIMIT} bytes", "choose a shorter path")
        if await _answers(self._path):
            raise Refused(f"another hive-egress serves {self._path}", "end it first, or choose another --control")
        try:
            self._path.parent.mkdir(mode=0o750, exist_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_LIMIT)
            self._path.chmod(0o660)
        except OSError as error:
            raise BadInput(f"--control {self._path} cannot be bound: {error.strerror}", "see its folder") from error

    async def close(self) -> None:
        """Stop, and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(OSError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
        try:
            if refusal := self._refusal(writer):
                await _send(writer, {"ok": False, "error": refusal, "hint": "only the daemon may use this socket"})
                return
            await self._serve_lines(reader, writer)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            if task is not None:
                self._tasks.discard(task)
            writer.close()

    def _refusal(self, writer: asyncio.StreamWriter) -> str:
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid not in self._uids:
            return f"uid {uid} may not"
        return "too many connections" if len(self._tasks) > _CONNECTIONS else ""

    async def _serve_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                await _send(writer, {"ok": False, "error": f"a line of more than {LINE_LIMIT} bytes", "hint": ""})
                return
            try:
                document = decode_line(line)
                if document.get("do") == "watch":
                    await self._watch(reader, writer)
                    return
                answer = await self._do(document)
            except HiveError as error:
                answer = {"ok": False, "error": error.summary, "hint": error.hint}
            await _send(writer, answer)

    async def _do(self, document: dict[str, Any]) -> dict[str, object]:
        verbs: dict[object, Callable[[dict[str, Any]], Awaitable[dict[str, object]]]] = {
            "set-policy": self._set_policy,
            "report": self._report,
            "connections": self._connections,
        }
        word = document.get("do")
        verb = verbs.get(word) if isinstance(word, str) else None
        if verb is None:
            raise BadInput("no such request", f"there are {', '.join(map(str, verbs))} and watch")
        return {"ok": True, **await verb(document)}

    async def _set_policy(self, document: dict[str, Any]) -> dict[str, object]:
        return {"policy": await self._controlled.set_policy(await asyncio.to_thread(policy_of, document.get("policy")))}

    async def _report(self, document: dict[str, Any]) -> dict[str, object]:
        return {"report": encode_report(self._controlled.report())}

    async def _connections(self, document: dict[str, Any]) -> dict[str, object]:
        name, after = document.get("agent"), document.get("after", 0)
        if not isinstance(name, str) or not isinstance(after, int) or isinstance(after, bool):
            raise BadInput("connections: `agent` is a name and `after` a number")
        return {"connections": encode_connections(self._controlled.connections(agent_name(name), after))}

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write a line after each change, until the other side ends."""
        seen = self._changes.number
        await _send(writer, {"ok": True})
        end = asyncio.create_task(reader.read(1))
        try:
            while not end.done():
                change = asyncio.create_task(self._changes.after(seen))
                try:
                    await asyncio.wait({end, change}, return_when=asyncio.FIRST_COMPLETED)
                    if not change.done():
                        return
                    seen = change.result()
                finally:
                    change.cancel()
                await _send(writer, {"changed": True})
                await asyncio.wait({end}, timeout=WATCH_SECONDS)
        finally:
            end.cancel()


def peer_uid(connection: socket.socket) -> int:
    """Return the uid of the process at the other end of a unix socket."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[1])


async def _answers(path: Path) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_unix_connection(path)
    except TimeoutError:
        return True
    except OSError:
        return False
    writer.close()
    return True


async def _send(writer: asyncio.StreamWriter, document: dict[str, Any]) -> None:
    # a report has thousands of rows: the loop goes on meanwhile
    writer.write(await asyncio.to_thread(encode_line, document))
    await writer.drain()
