"""An agent's live events as server-sent events that can be resumed (GET /api/agents/{agent}/live).

ready     the first event of a stream: the newest event's position (`newest`), up to which the next ones are history
live      one live event: {"id": "<log>-<number>", "ts": Unix seconds, "event": {...}}; the SSE id is the same `id`
resync    events are missing here: they are not kept any more, or the reader is too slow; the newest events come again

A comment follows HEARTBEAT seconds after the last write. Events that come within LINGER seconds are written together,
so that many readers cost little.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence

from meta.names import AgentName
from reconciler.observe.live import CHANNEL, Live, Subscription
from reconciler.store.live import AGENT_ROWS
from reconciler.store.live_queue import LiveRow

HEARTBEAT = 15.0
"""Seconds without a write after which a comment is sent. Only a write shows that the peer has disconnected."""
LINGER = 0.02
PAGE = 200
"""Events that are written at a time."""


async def live_sse(
    live: Live, agent: AgentName, after: str | None, newest: int, stopping: asyncio.Event
) -> AsyncGenerator[str, None]:
    """Yield the stream's text until `stopping` is set: what follows `after`, or the `newest` events, then new ones."""
    with live.watch(agent, after or "") as subscription:
        rows = await live.after(agent, after, AGENT_ROWS) if after else None
        gone = after is not None and rows is None
        if rows is None:
            rows = await live.newest(agent, newest)
        position = rows[-1].position if rows else after or ""
        yield _block("ready", after or "", {"newest": position})
        if gone:
            yield _block("resync", after or "", {"reason": f"the events after {after} are not kept any more"})
        for text in _pages(rows):
            yield text
        seq = rows[-1].seq if rows else 0
        end = asyncio.ensure_future(stopping.wait())
        end.add_done_callback(lambda _: subscription.wake())
        try:
            while (batch := await _next(subscription, stopping)) is not _END:
                if batch is None:
                    yield _block("resync", position, {"reason": f"more than {CHANNEL} events were waiting"})
                    rows = await live.newest(agent, newest)
                else:
                    rows = [row for row in batch if row.seq > seq]
                if rows:
                    position, seq = rows[-1].position, rows[-1].seq
                    for text in _pages(rows):
                        yield text
                elif batch is not None:
                    yield f":\nid: {position}\n\n" if position else ":\n\n"
        finally:
            end.cancel()


_END: list[LiveRow] = []


async def _next(subscription: Subscription, stopping: asyncio.Event) -> Sequence[LiveRow] | None:
    """Return what comes next, or nothing after HEARTBEAT seconds. None is resync; _END once `stopping` is set."""
    await asyncio.sleep(LINGER)
    try:
        async with asyncio.timeout(HEARTBEAT):
            await subscription.wait()
    except TimeoutError:
        return ()
    return _END if stopping.is_set() else subscription.take()


def live_row(row: LiveRow) -> str:
    """Return the event with its position as JSON. Its own text is JSON already."""
    return f'{{"id":"{row.position}","ts":{row.ts},"event":{row.text}}}'


def _pages(rows: Sequence[LiveRow]) -> list[str]:
    return ["".join(map(_event, rows[start : start + PAGE])) for start in range(0, len(rows), PAGE)]


def _event(row: LiveRow) -> str:
    return f"id: {row.position}\nevent: live\ndata: {live_row(row)}\n\n"


def _block(kind: str, position: str, data: dict[str, object]) -> str:
    line = f"id: {position}\n" if position else ""
    return f"{line}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
