"""The text of the event stream while its filter leaves events out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from api.cli.client.http import Stream
from api.operations import event_stream
from meta.names import AgentName
from reconciler.events.feed import Events
from reconciler.store.events.log import Filter
from reconciler.views import Event


class Busy:
    """A sequence without an end: an event of another kind each time."""

    async def last(self) -> str:
        return "a-0"

    @asynccontextmanager
    async def subscribe(self, after: str) -> AsyncIterator[AsyncIterator[Event]]:
        async def events() -> AsyncIterator[Event]:
            for number in range(1, 10_000_000):
                await asyncio.sleep(0)
                yield Event(f"a-{number}", 0, "message_sent", AgentName("alice"), {})

        yield events()


async def test_a_reader_whose_filter_matches_nothing_gets_comments_that_move_its_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT", 0.02)
    stream = event_stream.sse(
        cast(Events, Busy()), None, asyncio.Event(), only=Filter(kinds=frozenset({"deploy_failed"}))
    )
    blocks = [await anext(stream) for _ in range(3)]
    assert blocks[0].startswith("id: a-0\nevent: ready\n")
    assert all(block.startswith(":\nid: a-") for block in blocks[1:])
    first, second = (int(block.removeprefix(":\nid: a-")) for block in blocks[1:])
    assert 0 < first < second


def test_the_client_resumes_after_the_last_comment() -> None:
    here, there = socket.socketpair()
    with there, Stream(here, b'id: a-0\nevent: ready\ndata: {"after": "a-0"}\n\n:\nid: a-7\n\n') as stream:
        assert (ready := stream.next(0.1)) is not None and ready.kind == "ready"
        assert stream.next(0.01) is None
        assert stream.position == "a-7"
