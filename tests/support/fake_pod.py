"""A pod's socket whose answers a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

Reply = Callable[[dict[str, Any]], bytes]

GREETING = {
    "pod_name": "alice",
    "cwd": "/state/work",
    "provider": "none",
    "model": "m",
    "scope_summary": "",
    "tools": [],
}


def line(value: dict[str, Any]) -> bytes:
    """Return one line."""
    return json.dumps(value).encode() + b"\n"


def accepts(request: dict[str, Any]) -> bytes:
    """Accept every method; a history has no items."""
    if request["method"] == "get_history":
        return line({"event": "history", "data": {"items": [], "greeting": GREETING}, "id": request.get("id")})
    return line({"event": "accepted", "id": request["id"]})


class FakePod:
    """One socket. `asked` has the requests without their ids. `first` is sent to each who connects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[dict[str, Any]] = []
        self.reply: Reply = accepts
        self.first = b""
        self.writers: list[asyncio.StreamWriter] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(self.first)
        with contextlib.suppress(OSError):
            while data := await reader.readline():
                request = json.loads(data)
                self.asked.append({key: value for key, value in request.items() if key != "id"})
                writer.write(self.reply(request))
                await writer.drain()


@contextlib.asynccontextmanager
async def fake_pod(path: Path) -> AsyncIterator[FakePod]:
    """Serve the socket in the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pod = FakePod(path)
    server = await asyncio.start_unix_server(pod._serve, path)
    try:
        yield pod
    finally:
        server.close()
        for writer in pod.writers:
            writer.transport.abort()
