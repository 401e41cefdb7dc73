"""The stream of an agent's live events, and the list of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.operations import live_stream
from api.operations.live_stream import live_sse
from meta.names import AgentName
from meta.wire.link import Hello
from reconciler.observe.live import CHANNEL, Live, LiveLine
from reconciler.store.live import LiveStore

ALICE = AgentName("alice")


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    live = Live(LiveStore(tmp_path / "live.sqlite"))
    live.begin(ALICE, Hello(generation="g", nonce="n", log="log1", last=10**6))
    yield live
    await live.close()


async def emit(live: Live, *ids: int) -> None:
    for id in ids:
        value = {"kind": "note", "text": str(id)}
        await live.take(ALICE, LiveLine(id, 7, value, json.dumps(value)))


def blocks(text: str) -> list[tuple[str, str, Any]]:
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        found.append((fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data", "null"))))
    return found


async def read(stream: AsyncIterator[str], count: int) -> list[tuple[str, str, Any]]:
    got: list[tuple[str, str, Any]] = []
    async with asyncio.timeout(20):
        while len(got) < count:
            got += blocks(await anext(stream))
    return got


def texts(got: list[tuple[str, str, Any]]) -> list[str]:
    return [data["event"]["text"] for kind, _, data in got if kind == "live"]


async def test_a_stream_begins_with_the_newest_events_and_goes_on(live: Live) -> None:
    await emit(live, *range(1, 6))
    stream = live_sse(live, ALICE, None, 2, asyncio.Event())
    assert await read(stream, 3) == [
        ("ready", "", {"newest": "log1-5"}),
        ("live", "log1-4", {"id": "log1-4", "ts": 7, "event": {"kind": "note", "text": "4"}}),
        ("live", "log1-5", {"id": "log1-5", "ts": 7, "event": {"kind": "note", "text": "5"}}),
    ]
    await emit(live, 6, 7)
    assert texts(await read(stream, 2)) == ["6", "7"]
    await stream.aclose()


async def test_a_stream_resumes_after_an_event(live: Live) -> None:
    await emit(live, *range(1, 6))
    stream = live_sse(live, ALICE, "log1-3", 2, asyncio.Event())
    ready, *rest = await read(stream, 3)
    assert ready == ("ready", "log1-3", {"newest": "log1-5"})
    assert texts(rest) == ["4", "5"]
    await stream.aclose()


async def test_a_stream_that_cannot_resume_says_so_and_begins_with_the_newest(live: Live) -> None:
    await emit(live, *range(1, 6))
    stream = live_sse(live, ALICE, "other-3", 1, asyncio.Event())
    ready, resync, newest = await read(stream, 3)
    assert resync[:2] == ("resync", "other-3")
    assert (ready[0], texts([newest])) == ("ready", ["5"])
    await stream.aclose()


async def test_a_reader_that_lags_gets_resync_and_the_newest_events_again(live: Live) -> None:
    await emit(live, 1)
    stream = live_sse(live, ALICE, None, 3, asyncio.Event())
    await read(stream, 2)
    await emit(live, *range(2, 3 + CHANNEL))
    resync, *rest = await read(stream, 4)
    assert resync == ("resync", "log1-1", {"reason": "more than 256 events were waiting"})
    assert texts(rest) == ["256", "257", "258"]
    await emit(live, 1_000)
    assert texts(await read(stream, 1)) == ["1000"]
    await stream.aclose()


async def test_a_silent_stream_gets_comments(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "HEARTBEAT", 0.01)
    stream = live_sse(live, ALICE, None, 3, asyncio.Event())
    assert blocks(await anext(stream)) == [("ready", "", {"newest": ""})]
    assert await anext(stream) == ":\n\n"
    await stream.aclose()


async def test_a_stream_ends_when_the_daemon_stops(live: Live) -> None:
    stopping = asyncio.Event()
    stream = live_sse(live, ALICE, None, 3, stopping)
    await anext(stream)
    stopping.set()
    async with asyncio.timeout(20):
        assert [text async for text in stream] == []
    assert live._subscriptions == {}
