"""A client of another pod's socket: one method with its answer, and its events. What the other pod says is hostile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from meta.errors import HiveError, Refused, TransientError
from meta.wire import pod
from meta.wire.codec import check_values, encode

SECONDS = 5.0
"""Seconds that a pod has to connect and to answer a method."""
LINE_BYTES = 2 * 2**20
"""The longest line of a pod: a history."""
SKIPPED = 2_000
"""Events of a pod that may come before its answer."""
_ID = "p"

Event = dict[str, Any]


async def ask(socket: Path, method: pod.Method, seconds: float = SECONDS) -> Event:
    """Send a method, and return the answer: `accepted` or `history`.

    Raise Refused with the pod's reason, TransientError if it cannot be reached or does not answer in time.
    """
    try:
        async with asyncio.timeout(seconds), connected(socket) as (reader, writer):
            request = {**json.loads(encode(method)), "id": _ID}
            writer.write(json.dumps(request, ensure_ascii=False).encode() + b"\n")
            for _ in range(SKIPPED):
                event = await next_event(reader)
                if event is None:
                    break
                if event.get("id") == _ID:
                    return _checked(event)
    except (OSError, TimeoutError, asyncio.LimitOverrunError) as error:
        raise TransientError(
            f"the pod does not answer: {error or 'no answer in time'}", "`list_pods` says whether it lives"
        ) from error
    raise TransientError("the pod hung up without an answer", "`list_pods` says whether it lives")


def _checked(event: Event) -> Event:
    if event.get("event") != "error":
        return event
    data = event.get("data")
    text = data.get("message") if isinstance(data, dict) else None
    raise Refused(text[:500] if isinstance(text, str) else "the pod refused")


@contextlib.asynccontextmanager
async def connected(socket: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect in the block. Raise OSError."""
    reader, writer = await asyncio.open_unix_connection(socket, limit=LINE_BYTES)
    try:
        yield reader, writer
    finally:
        writer.close()


async def next_event(reader: asyncio.StreamReader) -> Event | None:
    """Return the next event; None at the end. A line that is none is skipped. Raise OSError or LimitOverrunError."""
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        try:
            value = await asyncio.to_thread(_parse, line) if len(line) > 16_384 else _parse(line)
        except (ValueError, RecursionError, HiveError):
            continue
        if isinstance(value, dict):
            return value


def _parse(line: bytes) -> object:
    check_values(line)
    value: object = json.loads(line)
    return value
