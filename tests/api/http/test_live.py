"""Live events from an agent's link to the operator's http.sock."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from api.lines import rate
from meta.names import AgentName

if TYPE_CHECKING:
    from tests.api.conftest import Hive
ALICE = AgentName("alice")
HELLO = {"up": "hello", "generation": "g", "nonce": "n", "log": "log1", "last": 10**6}


def note(id: int, text: str = "") -> bytes:
    line = {"up": "event", "id": id, "ts": 7.5, "event": {"kind": "note", "text": text or str(id)}}
    return json.dumps(line).encode() + b"\n"


class Harness:
    """A harness on alice's harness.sock."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def down(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            line: dict[str, Any] = json.loads(await self.reader.readline())
        return line

    def close(self) -> None:
        self.writer.close()


async def link(hive: Hive, **fields: object) -> tuple[Harness, int]:
    """Say hello; return the harness and the id after which its events are wanted."""
    harness = Harness(*await asyncio.open_unix_connection(str(hive.layout.harness_socket(ALICE))))
    harness.writer.write(json.dumps({**HELLO, **fields}).encode() + b"\n")
    lines = [await harness.down(), await harness.down(), await harness.down()]
    assert [line["down"] for line in lines] == ["hold", "probe", "follow"]
    return harness, lines[2]["after"]


async def get(hive: Hive, path: str) -> tuple[int, Any]:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(str(hive.layout.http_socket))
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    return int(head.split()[1]), json.loads(body)


async def until(hive: Hive, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while len(rows := (await get(hive, "/api/agents/alice/events"))[1]) < count:
            await asyncio.sleep(0)
    return list(rows)


async def test_hive_asks_for_what_it_lacks_and_lists_it(hive: Hive) -> None:
    harness, after = await link(hive)
    assert after == 0
    harness.writer.write(note(3) + note(4))
    rows = await until(hive, 2)
    assert rows[0] == {"id": "log1-3", "ts": 7, "event": {"kind": "note", "text": "3"}}
    harness.close()
    again, after = await link(hive)
    assert after == 4
    again.writer.write(note(4) + note(5))
    await until(hive, 3)
    assert [row["id"] for row in (await get(hive, "/api/agents/alice/events?after=log1-3"))[1]] == ["log1-4", "log1-5"]
    again.close()


async def test_a_process_without_the_link_adds_no_event(hive: Hive) -> None:
    harness, _ = await link(hive)
    stray = Harness(*await asyncio.open_unix_connection(str(hive.layout.harness_socket(ALICE))))
    stray.writer.write(json.dumps({**HELLO, "nonce": "another"}).encode() + b"\n" + note(9, "forged"))
    assert (await stray.down())["down"] == "closed"
    harness.writer.write(note(10))
    assert [row["id"] for row in await until(hive, 1)] == ["log1-10"]
    harness.close()
    stray.close()


async def test_the_stream_shows_events_as_they_come(hive: Hive) -> None:
    harness, _ = await link(hive)
    harness.writer.write(note(1))
    await until(hive, 1)
    reader, writer = await asyncio.open_unix_connection(str(hive.layout.http_socket))
    writer.write(b"GET /api/agents/alice/live HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(20):
        assert b"text/event-stream" in await reader.readuntil(b"\r\n\r\n")
        assert b"event: ready" in await reader.readuntil(b"\n\n")
        assert b"id: log1-1\n" in await reader.readuntil(b"\n\n")
        harness.writer.write(note(2, "two\nlines"))
        block = (await reader.readuntil(b"\n\n")).decode()
    assert block.startswith("id: log1-2\nevent: live\ndata: ")
    assert json.loads(block.partition("data: ")[2])["event"]["text"] == "two\nlines"
    writer.close()
    harness.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/agents/nobody/events", 404),
        ("/api/agents/nobody/live", 404),
        ("/api/agents/alice/events?after=log1-7", 409),
        ("/api/agents/alice/events?after=x", 400),
        ("/api/agents/alice/events?limit=100000", 400),
        ("/api/agents/alice/live?newest=100000", 400),
    ],
)
async def test_what_does_not_exist_is_refused(hive: Hive, path: str, status: int) -> None:
    assert (await get(hive, path))[0] == status


async def test_hostile_lines_are_ignored_and_what_follows_them_is_taken(hive: Hive) -> None:
    harness, _ = await link(hive)
    nest = b'{"up":"event","id":2,"ts":1,"event":{"kind":"note","x":' + b"[" * 60_000 + b"]" * 60_000 + b"}}\n"
    lines = [
        b'{"up":"event","id":-1,"ts":1,"event":{}}\n',
        b'{"up":"event","id":1e400,"ts":1,"event":{}}\n',
        b'{"up":"event","id":2,"ts":"now","event":{}}\n',
        b'{"up":"event","id":2,"ts":NaN,"event":{}}\n',
        b'{"up":"event","id":2,"ts":1,"event":[]}\n',
        b'{"up":"event","id":2,"ts":1,"event":' + b" " * 200_000 + b"{}}\n",
        nest,
        b"\xff\xfe\n",
    ]
    harness.writer.write(b"".join(lines) + note(3))
    assert [row["id"] for row in await until(hive, 1)] == ["log1-3"]
    harness.close()


@pytest.mark.parametrize(
    "event",
    [
        b'{"kind":"note",\r"text":"a\\n\\nevent: ready"}',
        b'{"kind":"note","text":"\\ud83d\\ude00 \xe2\x80\xa8 \xc3\xa9"}',
        b'{"kind":"note","text":1e999}',
        b'{"kind":"note","text":"a","kind":"note"},"ts":1,"event":{"kind":"note"}',
        b' {"kind":"note"} ',
    ],
)
async def test_an_odd_event_stays_one_line_of_the_stream_and_json(hive: Hive, event: bytes) -> None:
    harness, _ = await link(hive)
    harness.writer.write(b'{"up":"event","id":1,"ts":1,"event":' + event + b"}\n" + note(2))
    assert (await until(hive, 2))[0]["event"]["kind"] == "note"
    for row in await hive.service.live.newest(ALICE, 10):
        assert not set("\r\n") & set(row.text)
    harness.close()


@pytest.mark.parametrize("text", [b'"\\ud800"', b"NaN", b"[" * 5_000 + b"]" * 5_000, b"1" * 5_000, b'"\xff"'])
async def test_an_event_that_a_reader_could_not_parse_is_refused(hive: Hive, text: bytes) -> None:
    harness, _ = await link(hive)
    harness.writer.write(b'{"up":"event","id":1,"ts":1,"event":{"kind":"note","text":' + text + b"}}\n" + note(2))
    assert [row["id"] for row in await until(hive, 1)] == ["log1-2"]
    harness.close()


async def test_a_flood_waits_in_the_socket_and_others_are_served(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "BURST_BYTES", 100 * 1024)
    monkeypatch.setattr(rate, "BYTES_PER_SECOND", 1)
    harness, _ = await link(hive)
    for id in range(1, 20_000):
        harness.writer.write(note(id, "x" * 200))
    assert 90 <= len(await until(hive, 90)) <= 100
    assert harness.writer.transport.get_write_buffer_size() > 2**20  # most of it was not even read
    harness.writer.transport.abort()


def test_the_rate_lets_a_burst_through_and_then_makes_the_peer_wait() -> None:
    now = 0.0
    bucket = rate.Rate(lambda: now)
    for _ in range(rate.BURST_BYTES // 4096):
        assert bucket.take(4096) == 0
    assert bucket.take(10) == rate.LINE_BYTES / rate.BYTES_PER_SECOND
    now = 1.0
    assert bucket.take(rate.BYTES_PER_SECOND - rate.LINE_BYTES) == 0
