"""The pod's socket: framing, answers, clients that are late, slow, hostile or many."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.pod import server
from harness.pod.pod import Refusal
from harness.pod.server import Answer, Clients, serve_pod
from meta.wire import pod
from tests.support.pod_client import pod_client

GREETING = pod.Greeting(
    pod_name="a", cwd="/", provider="anthropic", model="m", scope_summary="Writable:\n - /w", tools=("Read",)
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pod-") as path:
        yield Path(path)


class Fake:
    """A pod that notes its methods, and answers as it is told."""

    def __init__(self) -> None:
        self.methods: list[pod.Method] = []
        self.answer: Answer = None

    async def do(self, method: pod.Method) -> Answer:
        self.methods.append(method)
        return self.answer


@pytest.fixture
async def clients(folder: Path) -> AsyncIterator[tuple[Clients, Fake, Path]]:
    clients, fake = Clients(), Fake()
    async with serve_pod(folder, clients, fake.do) as path:
        yield clients, fake, path
    assert not path.exists()


def note(text: str) -> pod.NotificationEvent:
    data = pod.Notification(level=pod.Level.WARN, source=pod.Source.POD, message=text, timestamp_ms=1)
    return pod.NotificationEvent(data=data)


Served = tuple[Clients, Fake, Path]


async def test_an_answer_has_the_id_of_its_request_and_goes_to_its_asker_alone(clients: Served) -> None:
    every, fake, path = clients
    fake.answer = Refusal(pod.ErrorCode.NOT_RUNNING, "no run is under way")
    async with pod_client(path) as asker, pod_client(path) as other:
        assert (await asker.ask("cancel"))["data"] == {"code": "not_running", "message": "no run is under way"}
        await asker.send("cancel")
        assert "id" not in await asker.until_event("error")
        fake.answer = pod.History(data=pod.HistoryData(items=({"type": "message"},), greeting=GREETING))
        assert (await asker.ask("get_history"))["data"]["greeting"]["tools"] == ["Read"]
        every.emit(note("seen by both"))
        assert (await asker.until_event("notification")) == (await other.next())
        assert other.kinds == ["notification"]


@pytest.mark.parametrize("id", [7, -1, "a-b", ""])
async def test_an_accepted_request_with_an_id_is_acknowledged_and_one_without_is_not(
    clients: Served, id: object
) -> None:
    async with pod_client(clients[2]) as client:
        await client.send("resume")
        await client.send("resume", id=id)
        assert await client.next() == {"event": "accepted", "id": id}


@pytest.mark.parametrize("id", [True, 1.5, None, [1], {"a": 1}, "x" * 65, 2**63])
async def test_what_is_no_id_is_ignored(clients: Served, id: object) -> None:
    _, fake, path = clients
    async with pod_client(path) as client:
        await client.raw(json.dumps({"method": "resume", "id": id}).encode() + b"\n")
        await client.send("pause", id=1)
        assert await client.next() == {"event": "accepted", "id": 1}
    assert len(fake.methods) == 2


@pytest.mark.parametrize(
    "line", [b"x", b"{}", b"[]", b'{"method":"fly"}', b'{"method":"run"}', b'{"method":"run","params":{"input":1}}']
)
async def test_a_line_that_is_no_method_is_answered_and_the_connection_stays(clients: Served, line: bytes) -> None:
    async with pod_client(clients[2]) as client, pod_client(clients[2]) as other:
        await client.raw(b"\n \r\n" + line + b"\n")
        assert (await client.until_event("error"))["data"]["code"] == "internal"
        await client.send("pause", id=1)
        assert (await client.next() or {})["event"] == "accepted"
        await other.send("pause", id=2)
        assert (await other.next() or {})["id"] == 2


async def test_a_line_without_end_ends_its_connection_alone(clients: Served) -> None:
    async with pod_client(clients[2]) as client, pod_client(clients[2]) as other:
        await client.raw(b"x" * (server.LINE_BYTES + 2**16))
        assert "more than" in (await client.until_event("error"))["data"]["message"]
        assert await client.next() is None
        await other.send("pause", id=2)
        assert (await other.next() or {})["id"] == 2


async def test_the_notifications_of_the_past_come_once_without_gap_and_double(clients: Served) -> None:
    every, _, path = clients
    for number in range(server.NOTIFICATIONS + 3):
        every.emit(note(f"n{number}"))
    async with asyncio.TaskGroup() as tasks:

        async def emit() -> None:
            for number in range(100):
                every.emit(note(f"late{number}"))
                await asyncio.sleep(0)

        tasks.create_task(emit())
        async with pod_client(path) as client:
            seen = [(await client.until_event("notification"))["data"]["message"]]
            while seen[-1] != "late99":
                seen.append((await client.until_event("notification"))["data"]["message"])
    first = int(seen[0].removeprefix("n"))
    assert seen == [
        *(f"n{number}" for number in range(first, server.NOTIFICATIONS + 3)),
        *(f"late{n}" for n in range(100)),
    ]


async def test_a_client_that_does_not_read_is_cut_off_and_others_get_all(
    clients: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNREAD_BYTES", 2**16)
    every, _, path = clients
    slow = socket.socket(socket.AF_UNIX)
    slow.connect(os.fspath(path))
    async with pod_client(path) as client:
        await client.send("pause", id=1)
        await client.next()
        number = 0
        while not every.cut_off:
            number += 1
            every.emit(note(f"{number} {'x' * 8000}"))
            await client.until_event("notification")
        assert len(client.events) == number
    slow.close()


async def test_more_clients_than_there_may_be_are_told_so(clients: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLIENTS", 1)
    async with pod_client(clients[2]) as client:
        await client.send("pause", id=1)
        await client.next()
        async with pod_client(clients[2]) as other:
            assert "connected already" in (await other.until_event("error"))["data"]["message"]
            assert await other.next() is None


async def test_the_socket_of_a_harness_that_was_killed_is_replaced_and_another_file_is_not(folder: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(os.fspath(folder / "pod.sock"))
    stale.close()
    async with serve_pod(folder, Clients(), Fake().do) as path, pod_client(path) as client:
        await client.send("pause", id=1)
        assert await client.next()
        assert path.stat().st_mode & 0o777 == 0o666
    (folder / "pod.sock").write_text("not hive's")
    with pytest.raises(OSError, match="in use"):
        async with serve_pod(folder, Clients(), Fake().do):
            pass


pieces = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [b'{"method":"run","params":{"input":"x"}}', b'{"method":"pause"}', b"{" * 300, b'"' * 50, b"\xff"]
    ),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(pieces, max_size=12))
def test_no_bytes_of_a_client_disturb_the_pod(parts: list[bytes]) -> None:
    async def attack() -> None:
        clients, fake = Clients(), Fake()
        with tempfile.TemporaryDirectory(prefix="pod-") as base:
            async with serve_pod(Path(base), clients, fake.do) as path:
                async with pod_client(path) as hostile:
                    await hostile.raw(b"\n".join(parts) + b"\n")
                    hostile.writer.write_eof()
                async with pod_client(path) as client:
                    await client.send("pause", id=1)
                    assert await client.next() == {"event": "accepted", "id": 1}

    asyncio.run(attack())
