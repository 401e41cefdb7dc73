"""Live events in hive: through its copy, and to twenty watchers. `python -m tests.bench.live`."""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.lines.link import parse_event
from harness.events import feed
from harness.events.database import SCHEMA, Row
from meta.names import AgentName
from meta.wire.link import Hello
from reconciler.observe.live import Live
from reconciler.store.live import LiveStore
from tests.bench.figure import Figure, figure, percentile
from tests.support.lab import fresh_lab

LINES = 20_000
RUNS = 3
WATCHERS = 20
PER_SECOND = 500
SECONDS = 6
ALICE = AgentName("alice")
REQUEST = b"GET /api/agents/alice/live?newest=0 HTTP/1.0\r\n\r\n"
LAG = 5_000
"""Events that a watcher does not read. They are more than the sockets hold."""
WHY = "the figure is of one core; the floor shows what json.loads and SQLite alone do on this machine at this moment"


def measure() -> Iterator[Figure]:
    """The path in hive, then watchers over the real sockets."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        floor = [bare(base / f"floor{run}") for run in range(RUNS)]
        hive = [asyncio.run(through_hive(base / f"hive{run}")) for run in range(RUNS)]
        name = "lines of the link through check, copy and fan-out in hive"
        yield figure(name, "/s", hive, floor=floor, at_least=20_000, why=WHY)
    with tempfile.TemporaryDirectory(dir="/tmp") as directory, relay(Path(directory)) as path:
        relayed = asyncio.run(watch(path, path.with_name("down.sock"), b"", raw=True))
    with fresh_lab("v", {}, backend="fake") as lab:
        lab.spawn("alice")
        lab.settle()
        hello = Hello(generation="g", nonce="n", log="bench", last=2**50).model_dump_json().encode() + b"\n"
        up, down = lab.layout.harness_socket(ALICE), lab.layout.http_socket
        watched = asyncio.run(watch(up, down, hello))
        resyncs = asyncio.run(lag(up, down, hello))
    name = f"{WATCHERS} watchers at {PER_SECOND} lines/s"
    yield figure(f"{name}: p99", "ms", watched, floor=relayed, at_most=50, at=percentile(99))
    yield figure(f"{name}: median", "ms", watched, floor=relayed)
    missing = WATCHERS * PER_SECOND * SECONDS - len(watched)
    yield figure(f"{name}: events that did not come", "", [float(missing)], at_most=0)
    yield figure("a watcher that lags: resyncs before the newest event", "", [resyncs], at_least=1)


def text(number: int) -> str:
    """A line as the claude CLI writes it, of about 600 bytes."""
    content = [{"type": "text", "text": f"line {number}: " + "some words of the model " * 8}]
    message = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": content}
    usage = {"input_tokens": 4, "cache_read_input_tokens": 11_000, "output_tokens": 12, "service_tier": "standard"}
    return json.dumps({"type": "assistant", "message": {**message, "usage": usage}, "session_id": "s" * 36})


TEXTS = [text(number) for number in range(LINES)]


def rate(begun: float) -> float:
    """Lines per second since then."""
    return LINES / (time.perf_counter() - begun)


def bare(path: Path) -> float:
    """The floor: json.loads, and an insert in transactions of 1,000."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    begun = time.perf_counter()
    for start in range(0, LINES, 1_000):
        rows = [(1, json.loads(line)["type"], line) for line in TEXTS[start : start + 1_000]]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO events (ts, kind, payload_json) VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    result = rate(begun)
    connection.close()
    return result


async def through_hive(path: Path) -> float:
    """Lines per second from a line of the link to the copy's file and one watcher."""
    lines = [
        feed.line(Row(number + 1, 1, "stream", f'{{"kind":"stream",{line[1:]}'))[:-1]
        for number, line in enumerate(TEXTS)
    ]
    store = LiveStore(path)
    live = Live(store)
    live.begin(ALICE, Hello(generation="g", nonce="n", log="bench", last=LINES))
    got = 0
    begun = time.perf_counter()
    with live.watch(ALICE) as watcher:
        for number, line in enumerate(lines):
            event = parse_event(line)
            assert event is not None
            await live.take(ALICE, event)
            if number % 50 == 0:
                await asyncio.sleep(0)
                got += len(watcher.take() or ())
        got += len(watcher.take() or ())
    await live.close()
    assert got == LINES, got
    return rate(begun)


async def watch(up: Path, down: Path, hello: bytes, *, raw: bool = False) -> list[float]:
    """Send PER_SECOND lines a second and return the milliseconds until each watcher had each of them."""
    request = b"" if raw else REQUEST
    took: list[float] = []

    async def one(reader: asyncio.StreamReader) -> None:
        got = 0
        while got < PER_SECOND * SECONDS and (line := await reader.readline()):
            if b'"sent":' in line:
                sent = float(line.partition(b'"sent":')[2].partition(b",")[0])
                took.append((time.monotonic() - sent) * 1_000)
                got += 1
            elif b"event: resync" in line:
                return

    streams = [await asyncio.open_unix_connection(str(down), limit=2**20) for _ in range(WATCHERS)]
    for reader, writer in streams:
        writer.write(request)
        if not raw:
            await reader.readuntil(b"event: ready")
    _, writer = await asyncio.open_unix_connection(str(up))
    writer.write(hello)
    watching = [asyncio.create_task(one(reader)) for reader, _ in streams]
    begun = time.monotonic()
    for number in itertools.count(1):
        if number > PER_SECOND * SECONDS:
            break
        await asyncio.sleep(max(0.0, begun + number / PER_SECOND - time.monotonic()))
        event = f'{{"kind":"stream","sent":{time.monotonic()},"text":"{"x" * 300}"}}'
        writer.write(feed.line(Row(number, 1, "stream", event)))
    await asyncio.wait(watching, timeout=20)
    for task in watching:
        task.cancel()
    for each in (writer, *(stream for _, stream in streams)):
        each.close()
    return took


async def lag(up: Path, down: Path, hello: bytes) -> float:
    """Send events to a watcher that does not read; return the resyncs that it gets before the last of them."""
    reader, watcher = await asyncio.open_unix_connection(str(down), limit=2**16)
    watcher.write(REQUEST)
    await reader.readuntil(b"event: ready")
    _, writer = await asyncio.open_unix_connection(str(up))
    writer.write(hello)
    resyncs = 0.0
    first = PER_SECOND * SECONDS + 1
    for number in range(first, first + LAG + 1):
        event = f'{{"kind":"stream","last":{str(number == first + LAG).lower()},"text":"{"x" * 600}"}}'
        writer.write(feed.line(Row(number, 1, "stream", event)))
        await writer.drain()
    async with asyncio.timeout(60):
        while b'"last":true' not in (line := await reader.readline()):
            resyncs += b"event: resync" in line
    for each in (watcher, writer):
        each.close()
    return resyncs


@contextmanager
def relay(directory: Path) -> Iterator[Path]:
    """The floor of the watchers, in a process of its own: each line of one socket goes to all of another."""
    listeners = []
    for name in ("up.sock", "down.sock"):
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(str(directory / name))
        listeners[-1].listen(64)
    process = multiprocessing.get_context("fork").Process(target=_relay, args=tuple(listeners), daemon=True)
    process.start()
    for listener in listeners:
        listener.close()
    try:
        yield directory / "up.sock"
    finally:
        process.terminate()
        process.join(10)


def _relay(up: socket.socket, down: socket.socket) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def joined(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    async def pass_on(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            for writer in writers:
                writer.write(line)

    async def run() -> None:
        servers = [
            await asyncio.start_unix_server(joined, sock=down),
            await asyncio.start_unix_server(pass_on, sock=up),
        ]
        await asyncio.gather(*(server.serve_forever() for server in servers))

    asyncio.run(run())


if __name__ == "__main__":
    for one in measure():
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()
