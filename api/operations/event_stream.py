"""The event sequence as server-sent events that can be resumed (GET /api/events).

ready     the first event of a stream, with the number after which the stream begins
snapshot  the whole state, if it was requested: instead of ready, and after each resync; a stream that resumes begins
          with ready
resync    replaces events that cannot be sent (pruned, of another database, or the reader is too slow); the reader has
          to fetch everything again, and the stream goes on from the id of this event
others    the events themselves; the SSE id is the event's `seq`, for Last-Event-ID

A comment follows HEARTBEAT seconds after the last write. It has an id, too: that of the last event that was read, so
that a reader who resumes does not begin again with events that its filter leaves out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reconciler.events.feed import Resync
from reconciler.store.events.log import EVERYTHING, Filter

if TYPE_CHECKING:
    from reconciler.events.feed import Events
    from reconciler.views import Event

HEARTBEAT = 15.0
"""Seconds without a write after which a comment is sent. Only a write shows that the peer has disconnected."""


Snapshot = Callable[[], Awaitable[tuple[str, str]]]
"""Returns the whole state: the number of the newest event before it was read, and JSON on one line."""


async def sse(
    source: Events,
    after: str | None,
    stopping: asyncio.Event,
    snapshot: Snapshot | None = None,
    only: Filter = EVERYTHING,
) -> AsyncIterator[str]:
    """Yield the stream's text, until `stopping` is set or the sequence is closed. The caller has checked `after`.

    Of the events themselves only those are sent that `only` wants.
    """
    if snapshot is not None and after is None:
        position, text = await snapshot()
        yield _raw("snapshot", position, text)
    else:
        position = after or await source.last()
        yield _block("ready", position, {"after": position})
    while not stopping.is_set():
        try:
            async with aclosing(_until(source, position, stopping, only)) as coming:
                async for position, event in coming:
                    yield _comment(position) if event is None else _block(event.kind, position, asdict(event))
            return
        except Resync as error:
            position = await source.last()
            yield _block("resync", position, {"reason": error.summary, "after": position})
            if snapshot is not None:
                position, text = await snapshot()
                yield _raw("snapshot", position, text)


async def _until(
    source: Events, after: str, stopping: asyncio.Event, only: Filter
) -> AsyncGenerator[tuple[str, Event | None], None]:
    """Yield the wanted events as they come, each with its number. End when `stopping` is set.

    After each HEARTBEAT seconds without one yield the number of the last event of any kind, and None.
    """
    clock = asyncio.get_running_loop().time
    due = clock() + HEARTBEAT
    end = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[Event | None] | None = None
    try:
        async with source.subscribe(after) as subscription:
            while True:
                coming = coming or asyncio.ensure_future(_next(subscription))
                waiting: set[asyncio.Future[Any]] = {coming, end}
                await asyncio.wait(waiting, timeout=max(0.0, due - clock()), return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    return
                wanted: Event | None = None
                if coming.done():
                    event, coming = coming.result(), None
                    if event is None:
                        return
                    after = event.seq
                    wanted = event if only.matches(event.kind, event.agent, event.at) else None
                if wanted is not None or clock() >= due:
                    yield after, wanted
                    due = clock() + HEARTBEAT
    finally:
        end.cancel()
        if coming is not None:
            coming.cancel()


async def _next(subscription: AsyncIterator[Event]) -> Event | None:
    """Return the next event, or None at the end: a task cannot raise StopAsyncIteration."""
    return await anext(subscription, None)


def _block(kind: str, seq: str, data: dict[str, Any]) -> str:
    return _raw(kind, seq, json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def _comment(position: str) -> str:
    return f":\nid: {position}\n\n"


def _raw(kind: str, seq: str, text: str) -> str:
    return f"id: {seq}\nevent: {kind}\ndata: {text}\n\n"
