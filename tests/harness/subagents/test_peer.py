"""A client of a pod's socket meets pods that say nothing, too much, or nonsense."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.subagents import peer
from harness.subagents.peer import ask
from harness.subagents.watch import Seen, after, watch
from meta.errors import Refused, TransientError
from meta.wire import pod

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        yield Path(folder) / "x.sock"


@asynccontextmanager
async def serving(socket: Path, serve: Serve) -> AsyncIterator[None]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(connected, socket)
    yield
    server.close()


def says(*lines: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        for line in lines:
            writer.write(line + b"\n")
        await writer.drain()
        await reader.read()

    return serve


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b'{"event":"text_delta","data":{"text":"x"}}\n' * 100)
        await writer.drain()


async def test_the_answer_with_the_id_is_taken_and_events_before_it_are_not(socket: Path) -> None:
    lines = (b'{"event":"turn_start","data":{"turn":1}}', b"nonsense", b"[]", b'{"event":"accepted","id":"p"}')
    async with serving(socket, says(*lines)):
        assert await ask(socket, pod.Pause()) == {"event": "accepted", "id": "p"}
    async with serving(socket, says(b'{"event":"error","id":"p","data":{"message":"no run is under way"}}')):
        with pytest.raises(Refused, match="no run is under way"):
            await ask(socket, pod.Pause())
    async with serving(socket, says(b'{"event":"error","id":"p","data":[]}')):
        with pytest.raises(Refused, match="the pod refused"):
            await ask(socket, pod.Pause())


@pytest.mark.parametrize("serve", [says(), floods, says(b"x" * (peer.LINE_BYTES + 10))])
async def test_a_pod_that_says_nothing_or_too_much_is_given_up(socket: Path, serve: Serve) -> None:
    async with serving(socket, serve):
        with pytest.raises(TransientError):
            await ask(socket, pod.Pause(), 0.3)


async def test_a_pod_that_is_not_there_is_given_up_at_once(socket: Path) -> None:
    with pytest.raises(TransientError, match="does not answer"):
        await ask(socket, pod.Pause())


def test_what_is_seen_of_a_pod_follows_its_events_and_no_others() -> None:
    seen = Seen()
    for event in (
        {"event": "turn_start", "data": {"turn": 4}},
        {"event": "turn_start", "data": {"turn": "x"}},
        {"event": "turn_start", "data": []},
        {"event": 7},
        {"event": "error", "data": {}},
        {"event": "run_end", "data": {"result": "finished"}},
    ):
        seen = after(seen, event, 5.0)
    assert seen == Seen("idle", 4, "error", 5.0)
    seen = after(after(seen, {"event": "turn_start", "data": {"turn": 5}}, 6.0), {"event": "run_end", "data": {}}, 7.0)
    assert (seen.turn, seen.result, seen.ended) == (5, "", 7.0)


async def test_a_watch_goes_on_over_a_restart_of_its_pod(socket: Path) -> None:
    came: list[Seen] = []

    async def says_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"event":"turn_start","data":{"turn":%d}}\n' % (len(came) + 1))
        await writer.drain()

    task = asyncio.create_task(watch(socket, came.append))
    async with asyncio.timeout(10), serving(socket, says_once):
        while sum(seen.state == "running" and not seen.visible for seen in came) < 2:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
