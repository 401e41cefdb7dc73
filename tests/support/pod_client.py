"""A client of a pod's socket, written from the seed's types alone (004_f087a6b7c1abf493.txt)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from meta.wire import pod
from meta.wire.codec import decode

EVENT: TypeAdapter[pod.Event] = TypeAdapter(pod.Event)
DEADLINE = 10.0


class PodClient:
    """One connection. `events` has all that came, `extra` the lines that no seed has."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.lines: list[dict[str, Any]] = []
        self.events: list[pod.Event] = []
        self.extra: list[dict[str, Any]] = []

    async def send(self, method: str, params: object = None, id: object = None) -> None:
        """Send a method."""
        value = {"method": method} if params is None else {"method": method, "params": params}
        await self.raw(json.dumps(value if id is None else {**value, "id": id}).encode() + b"\n")

    async def raw(self, data: bytes) -> None:
        """Send anything."""
        self.writer.write(data)
        await self.writer.drain()

    async def next(self) -> dict[str, Any] | None:
        """Return the next line; None at the end."""
        async with asyncio.timeout(DEADLINE):
            line = await self._reader.readline()
        if not line:
            return None
        value: dict[str, Any] = json.loads(line)
        self.lines.append(value)
        if value.get("event") == "accepted":
            self.extra.append(value)
        else:
            self.events.append(decode(EVENT, line))
        return value

    async def until(self, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the first coming line of which `what` is true."""
        while (value := await self.next()) is not None:
            if what(value):
                return value
        raise AssertionError(f"the pod hung up after {self.lines}")

    async def until_event(self, name: str) -> dict[str, Any]:
        """Return the next event of this name."""
        return await self.until(lambda value: value["event"] == name)

    async def ask(self, method: str, params: object = None) -> dict[str, Any]:
        """Send a method with an id, and return its answer."""
        id = f"q{len(self.lines)}"
        await self.send(method, params, id)
        return await self.until(lambda value: value.get("id") == id)

    @property
    def kinds(self) -> list[str]:
        """Return the names of the events that came."""
        return [event.event for event in self.events]


@asynccontextmanager
async def pod_client(path: Path) -> AsyncIterator[PodClient]:
    """Connect in the block."""
    reader, writer = await asyncio.open_unix_connection(path, limit=4 * 2**20)
    try:
        yield PodClient(reader, writer)
    finally:
        writer.close()
