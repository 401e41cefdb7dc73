"""http.sock: routes, problem details, the event stream."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

if TYPE_CHECKING:
    from tests.api.conftest import Hive

ME = f"operator uid {os.geteuid()}"


class UnixConnection(http.client.HTTPConnection):
    """The standard library's client over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("hive", timeout=20)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


def call(path: Path, method: str, target: str, body: object = None) -> tuple[int, str, Any]:
    connection = UnixConnection(path)
    try:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, target, data)
        response = connection.getresponse()
        return response.status, response.headers.get("content-type", ""), json.loads(response.read())
    finally:
        connection.close()


async def get(hive: Hive, target: str) -> tuple[int, str, Any]:
    return await asyncio.to_thread(call, hive.layout.http_socket, "GET", target)


async def post(hive: Hive, target: str, body: object = None) -> tuple[int, str, Any]:
    return await asyncio.to_thread(call, hive.layout.http_socket, "POST", target, body)


async def test_every_view_answers_json(hive: Hive) -> None:
    hive.fake.add()
    targets = ["status", "agents", "plan", "plan?agent=alice", "proposals", "proposals?all=1&limit=5", "proposals/1"]
    targets += ["proposals/1?agent=alice", "proposals/1/diff", "log?limit=1", "agents/alice/logs?lines=3"]
    for target in [*targets, "events?follow=0", "wait?agent=alice&timeout=1"]:
        status, kind, value = await get(hive, f"/api/{target}")
        assert (status, kind, bool(value) or target.startswith("events")) == (200, "application/json", True), target


async def test_what_status_says(hive: Hive) -> None:
    _, _, status = await get(hive, "/api/status")
    assert status["backend"] == "fake"
    assert [agent["agent"] for agent in status["agents"]] == ["alice", "manager"]
    assert status["runtime"] == str(hive.layout.runtime)


async def test_every_command_reaches_the_service_with_the_peers_uid(hive: Hive) -> None:
    for _ in range(3):
        hive.fake.add()
    asked: list[tuple[str, object]] = [
        ("proposals", {"agent": "alice", "commit": "1111111", "description": "d", "source": "/src"}),
        ("proposals/1/approve", {"seen": "1" * 7}),
        ("proposals/2/deny", {"reason": "no"}),
        ("proposals/3/cancel", None),
        ("proposals/2/retry", None),
        ("proposals/2/rebase", None),
        ("agents/bob/spawn", None),
        ("agents/carol/request-spawn", {"description": "c"}),
        ("agents/alice/rollback", {"to": 1}),
        ("agents/alice/start", {}),
        ("agents/alice/stop", {"now": True}),
        ("agents/alice/restart", None),
        ("agents/alice/rebuild", None),
        ("rebuild-all", {"now": True, "only_stale": True}),
        ("agents/alice/adopt", {"side": "meta"}),
        ("agents/bob/destroy", {"purge": True}),
        ("reconcile", {"agent": None}),
        ("messages", {"to": "alice", "body": "hi"}),
        ("agents/alice/settings", {"text": "x", "base": "0" * 40}),
    ]
    for target, body in asked:
        status, _, value = await post(hive, f"/api/{target}", body)
        assert status in (200, 201), (target, value)
    assert hive.fake.calls == [
        ("propose", "alice", ME, "1111111", "d", Path("/src")),
        ("approve", 1, ME, "1" * 7),
        ("deny", 2, ME, "no"),
        ("cancel", 3, ME, ""),
        ("retry", 2, ME),
        ("rebase", 2, ME),
        ("spawn", "bob", ME),
        ("request_spawn", "carol", ME, "c"),
        ("rollback", "alice", ME, 1),
        ("start", "alice", ME),
        ("stop", "alice", ME, True),
        ("restart", "alice", ME, False),
        ("rebuild", "alice", ME, False),
        ("rebuild_all", ME, True, True),
        ("adopt", "alice", ME, False),
        ("destroy", "bob", ME, True),
        ("reconcile", None),
        ("propose_settings", "alice", ME, "x", "", "0" * 40),
    ]
    (message,) = await hive.fake.broker.recent("alice", 1)
    assert (message.sender, message.body) == ("operator", "hi")


ERRORS: list[tuple[str, str, object, int, str, str]] = [
    ("GET", "proposals/9", None, 404, "not-found", "no proposal 9"),
    ("GET", "proposals/x", None, 400, "bad-input", "'x'"),
    ("GET", "proposals/1/diff/more", None, 404, "not-found", "/api/proposals/1/diff/more"),
    ("GET", "proposals?all=yes", None, 400, "bad-input", "all='yes'"),
    ("GET", "log?limit=0", None, 400, "bad-input", "limit='0'"),
    ("GET", "log?limit=99999999999999999999", None, 400, "bad-input", "limit"),
    ("GET", "wait?timeout=nan", None, 400, "bad-input", "timeout='nan'"),
    ("GET", "plan?agent=Bob", None, 400, "bad-input", "lower-case"),
    ("GET", "plan?agent=bob", None, 404, "not-found", "bob"),
    ("GET", "nothing", None, 404, "not-found", "/api/nothing"),
    ("GET", "events?follow=0&after=elsewhere-3", None, 409, "conflict", "resync"),
    ("GET", "events?follow=0&after=zzz", None, 400, "bad-input", "'zzz'"),
    ("GET", "events?after=zzz", None, 400, "bad-input", "'zzz'"),
    ("GET", "events?after=x-1%0aevent:%20evil%0adata:%201", None, 400, "bad-input", "evil"),
    ("GET", "status?agent=alice", None, 400, "bad-input", "'agent' is not a key"),
    ("GET", "plan?agent=alice&agent=manager", None, 400, "bad-input", "agent is in the query twice"),
    ("POST", "agents/alice/stop?now=1", {}, 400, "bad-input", "'now' is not a key"),
    ("POST", "messages", b'{"to":"alice","to":"manager","body":"x"}', 400, "bad-input", "'to' is in the body twice"),
    ("DELETE", "proposals/1", None, 405, "bad-input", "Method Not Allowed"),
    ("POST", "proposals", b"{", 400, "bad-input", "JSON"),
    ("POST", "proposals", {"agent": 3}, 400, "bad-input", "agent"),
    ("POST", "proposals", {"agent": "alice", "comit": "x"}, 400, "bad-input", "comit"),
    ("POST", "proposals", {"agent": "alice", "commit": "main"}, 400, "bad-input", "'main'"),
    ("POST", "proposals", {"agent": "alice", "source": "here"}, 400, "bad-input", "'here'"),
    ("POST", "proposals", {"agent": "bob"}, 404, "not-found", "bob"),
    ("POST", "proposals/1/approve", {"seen": "2222222"}, 403, "refused", "not 2222222"),
    ("POST", "agents/alice/spawn", {}, 409, "conflict", "already exists"),
    ("POST", "agents/manager/destroy", {}, 403, "refused", "manager"),
    ("POST", "agents/alice/stop", {"now": 1}, 400, "bad-input", "now"),
    ("POST", "agents/..%2f..%2fetc/stop", {}, 404, "not-found", "etc"),
    ("POST", "agents/alice/adopt", {"side": "left"}, 400, "bad-input", "side"),
    ("POST", "messages", {"to": "bob", "body": "x"}, 404, "not-found", "bob"),
    ("POST", "proposals/1/deny", b'{"reason":"' + b"x" * 2**20 + b'"}', 400, "bad-input", "longer than"),
]


async def test_errors_are_problem_details_that_name_the_thing(hive: Hive) -> None:
    hive.fake.add()
    for method, target, body, status, kind, words in ERRORS:
        found, media, problem = await asyncio.to_thread(call, hive.layout.http_socket, method, f"/api/{target}", body)
        expected = (status, "application/problem+json", f"urn:hive:{kind}")
        assert (found, media, problem["type"]) == expected, (target, problem)
        assert words in problem["title"], (target, problem)
        assert problem["status"] == status
        assert set(problem) >= {"type", "title", "status", "detail", "hint"}


async def test_an_error_inside_is_a_500_and_the_daemon_lives_on(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(hive.fake, "status", broken)
    status, _, problem = await get(hive, "/api/status")
    assert status == 500
    assert "a secret" not in json.dumps(problem)
    assert (await get(hive, "/api/plan"))[0] == 200


async def blocks(reader: asyncio.StreamReader, count: int) -> list[dict[str, str]]:
    """The next `count` server-sent events."""
    found: list[dict[str, str]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            text = (await reader.readuntil(b"\n\n")).decode()
            fields = dict(line.split(": ", 1) for line in text.strip().splitlines() if ": " in line)
            if "data" in fields:
                found.append(fields)
    return found


async def stream(hive: Hive, *headers: str, query: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(hive.layout.http_socket))
    writer.write("\r\n".join([f"GET /api/events{query} HTTP/1.0", *headers, "", ""]).encode())
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    return reader, writer


async def test_the_stream_begins_with_its_number_and_gives_every_later_event(hive: Hive) -> None:
    await hive.fake.events.append("daemon_started", None, {})
    reader, writer = await stream(hive)
    (ready,) = await blocks(reader, 1)
    assert (ready["event"], ready["id"]) == ("ready", await hive.fake.events.last())
    await hive.fake.events.append("container_crash", hive.fake.names[0], {"code": 1})
    (crash,) = await blocks(reader, 1)
    assert crash["event"] == "container_crash"
    assert json.loads(crash["data"])["agent"] == "alice"
    writer.close()
    await writer.wait_closed()


async def test_a_reader_resumes_after_the_last_event_it_saw(hive: Hive) -> None:
    first = await hive.fake.events.append("daemon_started", None, {})
    second = await hive.fake.events.append("daemon_stopped", None, {})
    assert first is not None
    assert second is not None
    reader, writer = await stream(hive, f"Last-Event-ID: {first.seq}")
    _ready, event = await blocks(reader, 2)
    assert (event["id"], event["event"]) == (second.seq, "daemon_stopped")
    writer.close()
    await writer.wait_closed()


async def test_a_position_that_is_gone_is_answered_with_resync_and_the_stream_goes_on(hive: Hive) -> None:
    reader, writer = await stream(hive, "Last-Event-ID: another-7")
    _ready, resync = await blocks(reader, 2)
    assert (resync["event"], resync["id"]) == ("resync", await hive.fake.events.last())
    event = await hive.fake.events.append("daemon_started", None, {})
    assert event is not None
    (later,) = await blocks(reader, 1)
    assert later["id"] == event.seq
    writer.close()
    await writer.wait_closed()


async def test_a_stream_can_begin_with_a_snapshot_and_misses_nothing_after_it(hive: Hive) -> None:
    await hive.fake.events.append("daemon_started", None, {})
    reader, writer = await stream(hive, query="?snapshot=1")
    (snapshot,) = await blocks(reader, 1)
    assert (snapshot["event"], snapshot["id"]) == ("snapshot", await hive.fake.events.last())
    _, _, state = await get(hive, "/api/state")
    assert json.loads(snapshot["data"]) == state
    event = await hive.fake.events.append("daemon_stopped", None, {})
    assert event is not None
    (later,) = await blocks(reader, 1)
    assert (later["event"], later["id"]) == ("daemon_stopped", event.seq)
    writer.close()
    await writer.wait_closed()


async def test_a_stream_with_a_snapshot_resumes_without_one_and_has_one_after_a_resync(hive: Hive) -> None:
    event = await hive.fake.events.append("daemon_started", None, {})
    assert event is not None
    for last, kinds in ((event.seq, ["ready"]), ("another-7", ["ready", "resync", "snapshot"])):
        reader, writer = await stream(hive, f"Last-Event-ID: {last}", query="?snapshot=1")
        found = await blocks(reader, len(kinds))
        assert [block["event"] for block in found] == kinds
        assert json.loads(found[-1]["data"]).get("seq", event.seq) == event.seq == found[-1]["id"]
        writer.close()
        await writer.wait_closed()


async def test_a_last_event_id_that_is_none_is_refused_before_the_stream_begins(hive: Hive) -> None:
    reader, writer = await asyncio.open_unix_connection(str(hive.layout.http_socket))
    writer.write(b"GET /api/events HTTP/1.0\r\nLast-Event-ID: x\r\n\r\n")
    async with asyncio.timeout(20):
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()


async def test_streams_end_when_the_daemon_stops(hive: Hive) -> None:
    reader, writer = await stream(hive)
    await blocks(reader, 1)
    hive.stopping.set()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_the_list_of_events_has_the_newest_oldest_first(hive: Hive) -> None:
    for _ in range(3):
        await hive.fake.events.append("daemon_started", None, {})
    last = await hive.fake.events.append("daemon_stopped", None, {})
    assert last is not None
    _, _, found = await get(hive, "/api/events?follow=0&limit=2")
    assert [event["kind"] for event in found] == ["daemon_started", "daemon_stopped"]
    assert found[-1]["seq"] == last.seq
    _, _, later = await get(hive, f"/api/events?follow=0&after={found[0]['seq']}")
    assert [event["seq"] for event in later] == [last.seq]
