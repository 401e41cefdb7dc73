"""The daemon's side of the root helper: one connection per call, a deadline for each, the errors of meta.errors.

TransientError: not reachable, busy, late, interrupted. Refused: no marker, not allowed. PermanentError (also BadInput,
NotFound): a retry changes nothing. An interrupted call may have succeeded: all verbs are idempotent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.errors import TransientError
from meta.names import AgentName
from reconciler.privileged import protocol
from reconciler.privileged.held import Held
from reconciler.privileged.protocol import (
    ANSWER_LIMIT,
    Create,
    Destroy,
    Logs,
    Measure,
    OwnDirectory,
    RemoveDirectories,
    Request,
    SetSystem,
    Start,
    Stop,
    WriteSettings,
)
from reconciler.privileged.values import Settings


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines of a container's log, oldest first, and the cursor for the next ones."""

    lines: tuple[str, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class CallDeadlines:
    """Seconds for a call: longer than the helper's own deadlines for its parts. The grace of a stop is added."""

    quick: float = 30.0
    create: float = 240.0
    switch: float = 120.0
    start: float = 420.0
    stop: float = 90.0
    destroy: float = 240.0


class Client:
    """The helper's client.

    It makes at most `connections` calls at a time, fewer than the helper allows; further calls wait.
    """

    def __init__(self, path: Path, deadlines: CallDeadlines = CallDeadlines(), connections: int = 6) -> None:
        self._path = path
        self._deadlines = deadlines
        self._slots = asyncio.Semaphore(connections)

    async def create(self, name: AgentName, uid_base: int, system: str) -> None:
        """Make the container with hive's marker."""
        await self._call(Create(name, uid_base, system), self._deadlines.create)

    async def set_system(self, name: AgentName, system: str) -> None:
        """Switch to a system by path. Takes effect at the next start."""
        await self._call(SetSystem(name, system), self._deadlines.switch)

    async def write_settings(self, name: AgentName, settings: Settings) -> None:
        """Write binds, uid range and limits. Takes effect at the next start."""
        await self._call(WriteSettings(name, settings), self._deadlines.quick)

    async def start(self, name: AgentName) -> None:
        """Start the system that is set, and wait until it is up."""
        await self._call(Start(name), self._deadlines.start)

    async def stop(self, name: AgentName, grace: float) -> None:
        """Send TERM, then KILL after `grace` seconds. Return when no process is left."""
        await self._call(Stop(name, grace), self._deadlines.stop + grace)

    async def destroy(self, name: AgentName) -> None:
        """Stop and remove the container. The agent's own directories stay."""
        await self._call(Destroy(name), self._deadlines.destroy)

    async def own_directory(self, name: AgentName, kind: str, uid_base: int) -> None:
        """Make one of the agent's directories (values.KINDS) and give it to the agent."""
        await self._call(OwnDirectory(name, kind, uid_base), self._deadlines.quick)

    async def measure(self, name: AgentName) -> Held:
        """Count what the agent's directories and the container's root hold."""
        answer = await self._call(Measure(name), self._deadlines.switch)
        bytes, inodes, complete = (answer.get(key) for key in ("bytes", "inodes", "complete"))
        if not isinstance(bytes, int) or not isinstance(inodes, int) or not isinstance(complete, bool):
            raise TransientError("the root helper returned no numbers")
        return Held(bytes, inodes, complete)

    async def remove_directories(self, name: AgentName) -> None:
        """Remove state, home and proposed work tree of an agent without a container."""
        await self._call(RemoveDirectories(name), self._deadlines.destroy)

    async def logs(self, name: AgentName, lines: int, cursor: str | None = None, since: int | None = None) -> LogLines:
        """Return the last `lines` lines after `cursor` that were written after the Unix second `since`."""
        data = await self._call(Logs(name, lines, cursor, since), self._deadlines.quick)
        texts, last = data.get("lines"), data.get("cursor")
        if not isinstance(texts, list):
            raise TransientError("the root helper returned no lines")
        return LogLines(tuple(str(text) for text in texts), last if isinstance(last, str) else None)

    async def _call(self, request: Request, deadline: float) -> Mapping[str, object]:
        try:
            async with asyncio.timeout(deadline), self._slots:
                line = await self._exchange(protocol.encode(request))
        except TimeoutError as error:
            verb = protocol.VERBS[type(request)]
            raise TransientError(f"the root helper did not {verb} {request.name} within {deadline:g} s") from error
        except OSError as error:
            hint = f"see whether hive-privileged.socket is up ({self._path})"
            raise TransientError(f"the root helper cannot be reached: {error}", hint) from error
        if not line.endswith(b"\n"):
            raise TransientError("the root helper did not complete its answer", "see its journal")
        return protocol.decode_answer(line)

    async def _exchange(self, line: bytes) -> bytes:
        """Exchange lines by plain socket calls. A stream would drop the answer if the helper closed before it read."""
        loop, answer = asyncio.get_running_loop(), bytearray()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, str(self._path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # rejected: the answer has the reason
                await loop.sock_sendall(connection, line)
            while not answer.endswith(b"\n"):
                chunk = await loop.sock_recv(connection, 65536)
                answer += chunk
                if not chunk or len(answer) > ANSWER_LIMIT:
                    break
        return bytes(answer)
