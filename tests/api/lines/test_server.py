"""The line protocol's plumbing, with raw bytes on real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.lines.connection import Disconnected, LineConnection, LineSplitter, TooLong
from api.lines.server import LineServer, answer_lines
from api.sockets.budget import Budget
from api.sockets.listener import bind
from meta.errors import BadInput, HiveError

LIMIT = 1024
Handler = Callable[[bytes], Awaitable[bytes]]


def fault(error: HiveError) -> bytes:
    return json.dumps({"error": error.summary}).encode()


async def echo(line: bytes) -> bytes:
    if line == b"bad":
        raise BadInput("that was bad", "say something else")
    if line == b"bug":
        raise ZeroDivisionError
    return b"you said " + line


@asynccontextmanager
async def serving(path: Path, handle: Handler = echo, **kind: Any) -> AsyncIterator[LineServer]:
    async def call(line: bytes) -> bytes:
        return await handle(line)

    async def session(connection: LineConnection) -> None:
        await answer_lines(connection, call, fault)

    server = LineServer(bind(path), session, **{"limit": LIMIT, "fault": fault, **kind})
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def talk(path: Path, data: bytes) -> list[bytes]:
    """Everything the server answers to `data` followed by the end of the requests."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer.splitlines()


def test_a_line_that_comes_in_pieces_is_put_together() -> None:
    splitter = LineSplitter(LIMIT)
    assert list(splitter.feed(b"ab")) == []
    assert list(splitter.feed(b"c\nd\ne")) == [b"abc", b"d"]
    assert list(splitter.feed(b"\n")) == [b"e"]


@pytest.mark.parametrize("cut", [1, 7, LIMIT, LIMIT + 1, 5000])
def test_a_line_over_the_limit_is_reported_once_however_it_is_cut(cut: int) -> None:
    splitter, data = LineSplitter(LIMIT), b"x" * 3000 + b"\nnext\n" + b"y" * LIMIT + b"\n"
    found = [line for at in range(0, len(data), cut) for line in splitter.feed(data[at : at + cut])]
    assert found == [TooLong(LIMIT), b"next", b"y" * LIMIT]


async def test_many_lines_on_one_connection_are_answered_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        assert await talk(tmp_path / "s", b"a\nb\nc\n") == [b"you said a", b"you said b", b"you said c"]


async def test_a_half_sent_line_at_the_end_is_dropped_and_the_rest_answered(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        assert await talk(tmp_path / "s", b"a\nhalf") == [b"you said a"]


async def test_an_error_and_a_fault_inside_are_answers_and_the_connection_lives_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        bad, bug, good = await talk(tmp_path / "s", b"bad\nbug\ngood\n")
    assert json.loads(bad) == {"error": "that was bad"}
    assert json.loads(bug) == {"error": "hive failed with an internal error"}
    assert good == b"you said good"


async def test_the_rest_of_a_line_over_the_limit_is_skipped(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        long, good = await talk(tmp_path / "s", b"x" * (LIMIT * 100) + b"\ngood\n")
    assert json.loads(long)["error"] == f"the line is longer than {LIMIT} bytes"
    assert good == b"you said good"


async def test_a_line_that_is_not_finished_in_time_is_an_error_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.lines.connection.LINE_DEADLINE", 0.05)
    async with serving(tmp_path / "s"), asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b"half")
        assert json.loads(await reader.readline())["error"] == "the line was not finished within 0.05 s"
        writer.write(b" and the rest\nwhole\n")
        assert await reader.readline() == b"you said whole\n"
        writer.close()


async def test_half_lines_of_one_agent_are_bounded_together(tmp_path: Path) -> None:
    share = Budget(2**30).share(2**20)
    async with serving(tmp_path / "s", limit=2**20, share=share), asyncio.timeout(20):
        peers = [await asyncio.open_unix_connection(str(tmp_path / "s")) for _ in range(4)]
        for _, writer in peers:
            writer.write(b"x" * 600_000)
            await writer.drain()
        refused = [asyncio.ensure_future(reader.readline()) for reader, _ in peers]
        await asyncio.wait(refused, return_when=asyncio.FIRST_COMPLETED)
        assert share.used <= 2**20
        (error,) = {json.loads(task.result())["error"] for task in refused if task.done()}
        assert error == "hive keeps too many bytes of unfinished requests"
        for task, (_, writer) in zip(refused, peers, strict=True):
            writer.close()
            task.cancel()
        while share.used:
            await asyncio.sleep(0)


async def test_an_agent_with_many_half_lines_gives_way_to_another(tmp_path: Path) -> None:
    budget = Budget(2**20)
    greedy, modest = budget.share(2**20), budget.share(2**20)
    async with (
        serving(tmp_path / "a", limit=2**20, share=greedy),
        serving(tmp_path / "b", limit=2**20, share=modest),
        asyncio.timeout(20),
    ):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "a"))
        writer.write(b"x" * 1_000_000)
        while greedy.used < 900_000:
            await asyncio.sleep(0)
        assert len(await talk(tmp_path / "b", b"y" * 400_000 + b"\n")) == 1
        assert b"too many bytes" in await reader.readline()
        writer.close()


async def test_a_client_that_reads_nothing_does_not_hold_up_others(tmp_path: Path) -> None:
    async def large(line: bytes) -> bytes:
        return b"z" * 500_000

    async with serving(tmp_path / "s", large):
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(tmp_path / "s"))
            deaf.sendall(b"more\n" * 20)
            assert len(await talk(tmp_path / "s", b"more\n")) == 1


async def test_a_peer_that_sends_thousands_of_bad_lines_at_once_does_not_hold_up_others(tmp_path: Path) -> None:
    path, many, answered = tmp_path / "x.sock", 4_000, 0

    async def counted(line: bytes) -> bytes:
        nonlocal answered
        answered += line == b"bad"
        return await echo(line)

    async with serving(path, counted):
        _, flood = await asyncio.open_unix_connection(str(path))
        reader, writer = await asyncio.open_unix_connection(str(path))
        flood.write(b"bad\n" * many)
        writer.write(b"hello\n")
        assert await reader.readline() == b"you said hello\n"
        assert answered < many / 4
        for one in (flood, writer):
            one.close()


async def test_a_silent_client_does_not_hold_up_others(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        _reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        assert await talk(tmp_path / "s", b"a\n") == [b"you said a"]
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("more", [b"", b"more\n"])
async def test_what_waits_for_the_peer_is_cancelled_when_it_closes_the_connection(tmp_path: Path, more: bytes) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def session(connection: LineConnection) -> None:
        await connection.while_connected(forever())

    server = LineServer(bind(tmp_path / "s"), session, limit=LIMIT, fault=fault)
    await server.start()
    async with asyncio.timeout(10):
        _reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        await begun.wait()
        writer.write(more)
        writer.close()
        await writer.wait_closed()
        await cancelled.wait()
    await server.close()


async def test_what_was_asked_is_done_even_when_nobody_stays_for_the_answer(tmp_path: Path) -> None:
    done: list[bytes] = []
    all_done = asyncio.Event()

    async def note(line: bytes) -> bytes:
        done.append(line)
        if len(done) == 3:
            all_done.set()
        return line * 10_000

    async with serving(tmp_path / "s", note), asyncio.timeout(10):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            client.sendall(b"a\nb\nc\nhalf")
        await all_done.wait()
    assert done == [b"a", b"b", b"c"]


async def test_a_client_that_only_ended_its_requests_still_gets_a_late_answer(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def late(line: bytes) -> bytes:
        begun.set()
        await go.wait()
        return b"late"

    async with serving(tmp_path / "s", late):
        answer = asyncio.ensure_future(talk(tmp_path / "s", b"wait\n"))
        await begun.wait()
        go.set()
        assert await answer == [b"late"]


async def test_a_peer_that_sends_ahead_of_its_answers_is_held_back_and_loses_nothing(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    answered = 0

    async def count(_line: bytes) -> bytes:
        nonlocal answered
        begun.set()
        await go.wait()
        answered += 1
        return b""

    line, most, sent = b"x" * (LIMIT - 1) + b"\n", 64 * 2**20, 0
    async with serving(tmp_path / "s", count), asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(line)
        await begun.wait()
        sock: socket.socket = writer.get_extra_info("socket")
        for _ in range(5):  # the server reads what it will between the rounds
            while sent < most:
                try:
                    sent += os.write(sock.fileno(), line * 16)
                except BlockingIOError:
                    break
            await asyncio.sleep(0)
        assert sent < most // 8
        go.set()
        writer.write(b"x" * (-sent % LIMIT - 1) + b"\n" if sent % LIMIT else b"")
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answered == 1 + -(-sent // LIMIT)


async def test_a_session_whose_peer_hung_up_is_told_so_and_is_not_cancelled_itself(tmp_path: Path) -> None:
    gone, cancelled_again = asyncio.Event(), False

    async def session(connection: LineConnection) -> None:
        nonlocal cancelled_again
        try:
            await connection.while_connected(asyncio.sleep(60))
        except Disconnected:
            task = asyncio.current_task()
            cancelled_again = task is None or task.cancelling() > 0
            await asyncio.sleep(0)
            gone.set()

    server = LineServer(bind(tmp_path / "s"), session, limit=LIMIT, fault=fault)
    await server.start()
    async with asyncio.timeout(10):
        _reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b"first\n")
        writer.close()
        await gone.wait()
    await server.close()
    assert not cancelled_again


async def test_an_unwanted_uid_is_told_so(tmp_path: Path) -> None:
    async def session(connection: LineConnection) -> None:
        await connection.send(b"welcome")

    server = LineServer(bind(tmp_path / "s"), session, limit=LIMIT, fault=fault, admit=lambda uid: False)
    await server.start()
    answer = await talk(tmp_path / "s", b"")
    await server.close()
    assert json.loads(answer[0]) == {"error": f"uid {os.geteuid()} may not use this socket"}


async def test_one_connection_too_many_is_told_so_until_another_one_ends(tmp_path: Path) -> None:
    async def session(connection: LineConnection) -> None:
        await connection.send(b"welcome")
        async for _ in connection.lines():
            pass

    server = LineServer(bind(tmp_path / "s"), session, limit=LIMIT, fault=fault, connections=2)
    await server.start()
    async with asyncio.timeout(10):
        peers = [await asyncio.open_unix_connection(str(tmp_path / "s")) for _ in range(2)]
        for reader, _ in peers:
            assert await reader.readline() == b"welcome\n"
        for _ in range(3):
            (answer,) = await talk(tmp_path / "s", b"")
            assert json.loads(answer) == {"error": "too many connections to this socket, at most 2"}
        peers[0][1].close()
        await peers[0][1].wait_closed()
        while await talk(tmp_path / "s", b"") != [b"welcome"]:
            await asyncio.sleep(0)
        peers[1][1].close()
        await peers[1][1].wait_closed()
    await server.close()


async def test_closing_removes_the_socket_but_never_another_one_at_its_place(tmp_path: Path) -> None:
    async with serving(tmp_path / "a"), serving(tmp_path / "b"):
        (tmp_path / "b").unlink()
        (tmp_path / "b").write_text("somebody else's")
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b").read_text() == "somebody else's"
