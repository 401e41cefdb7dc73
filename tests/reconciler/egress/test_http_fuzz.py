"""Any bytes on an agent's socket: an answer or an end, and nothing reaches a host that is not allowed."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.egress.client import head_fault
from tests.support.egress_http import FakeGate, Visit, agents, policy, upstream

PIECES = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"CONNECT ", b"http://web.example/", b"http://other.example/", b"/anthropic/v1/messages"),
        *(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: web.example\r\n", b"Host: other.example\r\n", b"\r\n", b"\n"),
        *(b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        *(b"3\r\nabc\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n", b" folded\r\n", b"Upgrade: h2c\r\n"),
        b"GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n",
    ]
)
SOME = st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=12).map(b"".join)


async def say(data: bytes) -> tuple[list[bytes], FakeGate]:
    """Send bytes and end; return the heads that reached the upstream."""
    heads: list[bytes] = []

    async def serve(visit: Visit) -> None:
        while not visit.reader.at_eof():
            heads.append((await visit.request())[0])
            await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with tempfile.TemporaryDirectory() as folder:
        async with upstream(serve) as port, asyncio.timeout(20):
            gate = FakeGate(policy("web.example"), {("web.example", 80): port})
            async with agents(gate, Path(folder)) as connect:
                agent = await connect()
                await agent.send(data)
                agent.writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    await agent.reader.read()
    return heads, gate


def check(data: bytes) -> None:
    heads, gate = asyncio.run(say(data))
    for head in heads:
        assert [line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")] == [b"host: web.example"]
        assert not (b"content-length" in head and b"transfer-encoding" in head)
    assert all(place == ("web.example", 80) for place in gate.dialled)


@settings(max_examples=60, deadline=None)
@given(SOME)
def test_any_bytes_end_cleanly_and_reach_only_what_is_allowed(data: bytes) -> None:
    check(data)


@pytest.mark.full
@settings(max_examples=1000, deadline=None)
@given(SOME)
def test_many_bytes_end_cleanly_and_reach_only_what_is_allowed(data: bytes) -> None:
    check(data)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=30)), max_size=8).map(b"".join))
def test_a_head_that_passes_has_one_framing_and_one_host(data: bytes) -> None:
    head = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    if head_fault(head):
        return
    http = h11.Connection(h11.SERVER)
    http.receive_data(head)
    try:
        event = http.next_event()
    except h11.RemoteProtocolError:
        return
    assert isinstance(event, h11.Request)
    names = [name for name, _ in event.headers]
    assert names.count(b"host") + names.count(b"content-length") + names.count(b"transfer-encoding") <= 2
    assert not (b"content-length" in names and b"transfer-encoding" in names)


ANSWERS = st.sampled_from(
    [
        *(
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.1 204 No\r\n",
            b"HTTP/1.1 101 Up\r\n",
            b"\r\n",
            b"\n",
        ),
        *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 999 ?\r\n", b"Content-Length: 3\r\n", b"Content-Length: x\r\n"),
        *(
            b"Transfer-Encoding: chunked\r\n",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"Connection: close\r\n",
            b"abc",
            b" x\r\n",
        ),
        *(b"Upgrade: websocket\r\n", b"Content-Type: text/event-stream\r\n", b"X: " + b"a" * 70_000 + b"\r\n"),
    ]
)


async def hear(data: bytes) -> bytes:
    """Return all that an agent gets if its upstream answers with these bytes, and ends."""

    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.send(data)

    with tempfile.TemporaryDirectory() as folder:
        async with upstream(serve) as port, asyncio.timeout(20):
            gate = FakeGate(policy("web.example"), {("web.example", 80): port})
            async with agents(gate, Path(folder)) as connect:
                agent = await connect()
                await agent.send(b"GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    return await agent.reader.read()
    return b""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(ANSWERS, st.binary(max_size=8)), max_size=10).map(b"".join))
def test_any_bytes_of_an_upstream_become_a_clean_answer_or_an_end(data: bytes) -> None:
    assert asyncio.run(hear(data))[:9] in (b"HTTP/1.1 ", b"")
