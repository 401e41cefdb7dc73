"""The client of agents' pods: one connection for each method, and one for each who watches.

What a pod sends is hostile: a line and an answer have bounds, each wait has a deadline, and only events of the protocol
get through, encoded anew.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import TypeAdapter

from meta.errors import BadInput, Conflict, HiveError, TransientError
from meta.names import AgentName
from meta.text import one_line
from meta.wire import pod
from meta.wire.codec import check_values, decode, encode
from reconciler.pods.socket import reached

LINE_BYTES = 4 * 2**20
"""The longest line: a history has at most 512 KiB of texts, which JSON can write six times as long."""
ANSWER_BYTES = 16 * 2**20
"""Bytes before the answer to a method, at most: the notifications of the past and the events of a turn come, too."""
SECONDS = 10.0
"""Seconds for a method and its answer."""
INLINE_BYTES = 16 * 1024
"""A longer line is parsed in a thread."""
AT_ONCE = 16
"""Connections to the pods of one agent, at most."""
UNKNOWN_MOST = 100
"""Lines in a row that are no event, after which a pod is not watched any longer."""
_EVENT: TypeAdapter[pod.Event] = TypeAdapter(pod.Event)


class PodClient:
    """The pods of all agents. `folder` returns the directory of an agent's sockets."""

    def __init__(self, folder: Callable[[AgentName], Path]) -> None:
        self._folder = folder
        self._open: Counter[AgentName] = Counter()

    async def do(self, agent: AgentName, name: str, method: pod.Method) -> pod.History | None:
        """Do a method, and return its answer: a history for `get_history`, None if it was accepted.

        Raise NotFound without such a pod, Conflict if it refuses, TransientError if it does not answer.
        """
        try:
            async with asyncio.timeout(SECONDS), self._connected(agent, name) as (reader, writer):
                id = secrets.token_hex(8)
                request = {**json.loads(encode(method)), "id": id}
                writer.write(json.dumps(request, ensure_ascii=False).encode() + b"\n")
                await writer.drain()
                event = await _answer(reader, id)
        except TimeoutError as error:
            raise TransientError(
                f"the pod {name} of {agent} does not answer", "try again; see `hive status`"
            ) from error
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError, RecursionError) as error:
            raise _broken(agent, name) from error
        if isinstance(event, pod.ErrorEvent):
            text = one_line(event.data.message) or event.data.code.value
            raise Conflict(
                f"{name} refuses ({event.data.code.value}): {text}", f"`hive pod list {agent}` has its state"
            )
        return event

    async def follow(self, agent: AgentName, name: str) -> AsyncGenerator[pod.Event, None]:
        """Yield the events of a pod as they come, the notifications of the past first, until it ends the connection.

        Raise NotFound, TransientError. Lines that are no event are left out.
        """
        unknown = 0
        try:
            async with self._connected(agent, name) as (reader, _):
                while True:
                    line = await reader.readuntil(b"\n")
                    event = await _event(line)
                    unknown = 0 if event is not None else unknown + 1
                    if event is not None:
                        yield event
                    elif unknown > UNKNOWN_MOST:
                        return
        except asyncio.IncompleteReadError:
            return
        except (OSError, asyncio.LimitOverrunError) as error:
            raise _broken(agent, name) from error

    @asynccontextmanager
    async def _connected(
        self, agent: AgentName, name: str
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if self._open[agent] >= AT_ONCE:
            raise TransientError(f"{AT_ONCE} connections to the pods of {agent} are open", "close some, or try again")
        self._open[agent] += 1
        try:
            with reached(self._folder(agent), agent, name) as path:
                async with asyncio.timeout(SECONDS):
                    reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
            try:
                yield reader, writer
            finally:
                writer.transport.abort()
        finally:
            self._open[agent] -= 1
            if not self._open[agent]:
                del self._open[agent]


async def _answer(reader: asyncio.StreamReader, id: str) -> pod.History | pod.ErrorEvent | None:
    """Return the answer with this id. Other lines are for those who watch. Raise EOFError, ValueError."""
    size = 0
    while size < ANSWER_BYTES:
        line = await reader.readuntil(b"\n")
        size += len(line)
        if f'"{id}"'.encode() not in line:
            continue
        value = _loads(line) if len(line) <= INLINE_BYTES else await asyncio.to_thread(_loads, line)
        if not isinstance(value, dict) or value.get("id") != id:
            continue
        if value.get("event") == "accepted":
            return None
        event = await _event(line)
        if isinstance(event, pod.History | pod.ErrorEvent):
            return event
        raise ValueError("the answer is none")
    raise ValueError("no answer came")


def _loads(line: bytes) -> object:
    """Return the value. Raise ValueError, RecursionError."""
    try:
        check_values(line)
    except BadInput as error:
        raise ValueError(error.summary) from error
    return json.loads(line)


async def _event(line: bytes) -> pod.Event | None:
    """Return the event in a line, None if it has none."""
    try:
        return decode(_EVENT, line) if len(line) <= INLINE_BYTES else await asyncio.to_thread(decode, _EVENT, line)
    except (HiveError, ValueError, RecursionError):
        return None


def _broken(agent: AgentName, name: str) -> TransientError:
    return TransientError(
        f"the connection to the pod {name} of {agent} broke, or what it sent is not of the protocol",
        f"see `hive pod list {agent}` and `hive logs {agent}`",
    )
