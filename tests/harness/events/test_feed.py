"""The events on the link: history, then live, and never in the way of an answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness.environment import Environment
from harness.events import feed
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.gate import Gate
from harness.link import Link
from meta.names import AgentName
from meta.wire.link import UP, DownLine, Event, Follow, Hello, Probe, State
from meta.wire.live import Note, Stream, from_object


class Peer:
    """hive's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.read = 0

    async def next(self) -> Any:
        async with asyncio.timeout(20):
            line = await self.reader.readline()
        self.read += len(line)
        return UP.validate_json(line)

    def send(self, line: DownLine) -> None:
        self.writer.write(line.model_dump_json().encode() + b"\n")


class Side:
    """A link of a harness in this process, and hive's socket."""

    def __init__(self, base: Path) -> None:
        self.bus = Bus(EventStore(base / "events.sqlite"))
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.path = base / "harness.sock"
        self.environment = Environment(AgentName("alice"), False, "g", "n", base, base, base, base)
        self.gate = Gate()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.peers.put(Peer(reader, writer))

    async def greeted(self) -> tuple[Peer, Hello]:
        async with asyncio.timeout(20):
            peer = await self.peers.get()
        hello = await peer.next()
        assert isinstance(hello, Hello)
        return peer, hello


@pytest.fixture
async def side(base: Path) -> AsyncIterator[Side]:
    side = Side(base)
    server = await asyncio.start_unix_server(side.accept, side.path)
    link = asyncio.create_task(Link(side.environment, side.gate, side.bus).run())
    yield side
    link.cancel()
    await asyncio.gather(link, return_exceptions=True)
    server.close()
    while not side.peers.empty():
        side.peers.get_nowait().writer.close()
    side.bus._store.close()


def texts(events: list[Event]) -> list[str]:
    return [from_object(event.event).model_dump()["text"] for event in events]


async def test_events_are_sent_only_after_follow_and_a_new_link_goes_on_where_the_other_ended(side: Side) -> None:
    peer, hello = await side.greeted()
    assert (hello.log, hello.last) == (side.bus.log, side.bus.last)
    for number in range(3):
        side.bus.emit(Note(text=str(number)))
    peer.send(Follow(after=0))
    got = [await peer.next() for _ in range(3)]
    side.bus.emit(Note(text="3"))
    got.append(await peer.next())
    assert texts(got) == ["0", "1", "2", "3"]
    peer.writer.close()
    side.bus.emit(Note(text="4"))
    again, hello = await side.greeted()
    assert hello.last == got[-1].id + 1
    again.send(Follow(after=got[-1].id))
    assert texts([await again.next()]) == ["4"]
    again.writer.close()


async def test_a_second_follow_takes_the_place_of_the_first(side: Side) -> None:
    peer, _ = await side.greeted()
    for number in range(3):
        side.bus.emit(Note(text=str(number)))
    peer.send(Follow(after=0))
    assert texts([await peer.next() for _ in range(3)]) == ["0", "1", "2"]
    peer.send(Follow(after=side.bus.last - 1))
    assert texts([await peer.next()]) == ["2"]
    side.bus.emit(Note(text="3"))
    assert texts([await peer.next()]) == ["3"]
    assert len(side.bus._subscriptions) == 1
    peer.writer.close()


async def test_a_probe_is_answered_at_once_in_the_middle_of_a_long_history(side: Side) -> None:
    for number in range(2_000):
        side.bus.emit(Note(text=f"{number} {'x' * 2_000}"))
    peer, _ = await side.greeted()
    peer.send(Follow(after=0))
    for _ in range(100):
        assert isinstance(await peer.next(), Event)
    peer.send(Probe(probe=7))
    before, begun = peer.read, time.monotonic()
    while not isinstance(line := await peer.next(), State):
        pass
    assert line.probe == 7
    assert peer.read - before < 4 * feed.BUFFER + 64 * 1024  # what waits in the process, in the socket, and here
    assert time.monotonic() - begun < 1
    count = 100 + sum([isinstance(await peer.next(), Event) for _ in range(10)])
    assert count == 110
    peer.writer.close()


async def test_a_hive_that_does_not_read_holds_up_nothing(side: Side) -> None:
    peer, _ = await side.greeted()
    peer.send(Follow(after=0))
    for number in range(1_500):
        side.bus.emit(Note(text=f"{number} {'x' * 2_000}"))
        if number % 100 == 0:
            await asyncio.sleep(0)
    numbers = [(await peer.next()).event["text"].split()[0] for _ in range(1_500)]
    assert numbers == [str(number) for number in range(1_500)]
    peer.writer.close()


@pytest.mark.parametrize("text", ['"\ud800"', "[" * 50_000, "é" * 200_000, "a\u2028b\n"])
async def test_whatever_a_cli_prints_hive_can_read_the_line(side: Side, text: str) -> None:
    side.bus.emit(Stream(line={"type": "odd", "text": text, "nest": [[[[[[]]]]]]}))
    (row,) = side.bus._store.read(0, 10)
    line = feed.line(row)
    assert len(line) < 128 * 1024
    assert isinstance(UP.validate_json(line), Event)
    assert json.loads(line)["event"]["type"] == "odd"
