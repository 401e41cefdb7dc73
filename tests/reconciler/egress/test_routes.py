"""The key face: which paths it serves, what it adds and drops, and that answers are streamed."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from meta.network.report import Metered
from meta.network.verdict import Verdict
from reconciler.egress.pool import RESENDS
from reconciler.egress.routes import key_header
from tests.support.egress_http import KEY, OK, Agent, FakeGate, Visit, agents, policy, route, upstream
from tests.support.own_ca import server_context

HOST = "api.anthropic.com"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ASK = b"POST /anthropic/v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:3128\r\nContent-Length: 2\r\n\r\n{}"

Serve = Callable[[Visit], Awaitable[None]]


@asynccontextmanager
async def key_face(folder: Path, serve: Serve, **settings: object) -> AsyncIterator[tuple[FakeGate, Agent]]:
    """Serve a route behind TLS by a function; yield the gate and an agent's connection."""
    async with upstream(serve, server_context(HOST)) as port:
        gate = FakeGate(policy(), {(HOST, 443): port}, {"anthropic": route(folder, **settings)})
        async with agents(gate, folder) as connect, asyncio.timeout(20):
            yield gate, await connect()


async def answer_all(visit: Visit, answer: bytes = OK) -> None:
    while not visit.reader.at_eof():
        await visit.request()
        await visit.send(answer)


async def test_the_key_replaces_what_the_container_sent(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(visit: Visit) -> None:
        head, body = await visit.request()
        heads.append(head)
        assert body == b"{}"
        await visit.send(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\nRequest-Id: r1\r\n\r\n"))

    async with key_face(tmp_path, serve) as (gate, agent):
        head, body = await agent.ask(
            ASK.replace(
                b"Content-Length",
                b"X-Api-Key: dummy\r\nAuthorization: Bearer dummy\r\nCookie: c=d\r\nAnthropic-Beta: one,two\r\n"
                b"Accept-Encoding: gzip\r\nContent-Encoding: gzip\r\nProxy-Connection: keep-alive\r\nContent-Length",
            )
        )
    assert body == b"ok"
    assert b"request-id: r1" in head.lower()
    assert b"cookie" not in head.lower()
    assert heads[0].split(b"\r\n") == [
        b"POST /v1/messages?beta=true HTTP/1.1",
        b"host: api.anthropic.com",
        b"accept-encoding: identity",
        b"anthropic-beta: one,two",
        b"content-encoding: gzip",
        b"x-api-key: sk-real-key",
        b"content-length: 2",
        b"",
        b"",
    ]
    assert [(entry.kind, entry.host, entry.port, entry.route) for entry in gate.booked] == [
        ("route", HOST, 443, "anthropic")
    ]


async def test_each_event_of_a_stream_arrives_before_the_next_is_sent_and_its_tokens_are_counted(
    tmp_path: Path,
) -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "cache_read_input_tokens": 70}}}
    delta = {"type": "message_delta", "usage": {"output_tokens": 9}}
    events = [f"event: {row['type']}\ndata: {json.dumps(row)}\n\n".encode() for row in (start, delta)]
    seen = [asyncio.Event() for _ in events]

    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.send(EVENTS)
        for event, done in zip(events, seen, strict=True):
            await visit.send(b"%x\r\n%s\r\n" % (len(event), event))
            await done.wait()
        await visit.send(b"0\r\n\r\n")

    async with key_face(tmp_path, serve) as (gate, agent):
        await agent.send(ASK)
        await agent.head()
        for event, done in zip(events, seen, strict=True):
            assert await agent.chunk() == event
            done.set()
        assert await agent.chunk() == b""
        assert (await agent.ask(ASK.replace(b"/v1/messages", b"/nothing")))[0].startswith(b"HTTP/1.1 404")
    assert gate.metered == [Metered(1, 5, 9, 70)]


async def test_requests_share_a_connection_to_the_upstream_also_from_other_connections(tmp_path: Path) -> None:
    connections = 0

    async def serve(visit: Visit) -> None:
        nonlocal connections
        connections += 1
        await answer_all(visit)

    async with upstream(serve, server_context(HOST)) as port:
        gate = FakeGate(policy(), {(HOST, 443): port}, {"anthropic": route(tmp_path)})
        async with agents(gate, tmp_path) as connect, asyncio.timeout(20):
            for agent in (await connect(), await connect()):
                assert (await agent.ask(ASK))[1] == b"ok"
                assert (await agent.ask(ASK))[1] == b"ok"
                await agent.ask(b"GET /.hive/way-out HTTP/1.1\r\nHost: x\r\n\r\n")  # the answer before is done with
    assert connections == 1


async def test_a_kept_connection_that_died_is_replaced_and_the_body_sent_again(tmp_path: Path) -> None:
    bodies: list[bytes] = []

    async def serve(visit: Visit) -> None:
        """Answer the first request of a connection, and end at the second without an answer."""
        await visit.request()
        await visit.send(OK)
        _, body = await visit.request()
        bodies.append(body)

    async with key_face(tmp_path, serve) as (gate, agent):
        assert (await agent.ask(ASK))[1] == b"ok"
        assert (await agent.ask(ASK))[1] == b"ok"
    assert len(gate.dialled) == 2
    assert bodies == [b"{}"]


async def test_bodies_are_kept_within_a_bound_and_one_beyond_it_is_not_sent_again(tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        """Answer the first request of a connection, and end at the second without an answer."""
        await visit.request()
        await visit.send(OK)
        await visit.request()

    async with key_face(tmp_path, serve) as (gate, agent):
        assert gate.upstreams.keep(RESENDS - 2)
        assert not gate.upstreams.keep(3)
        for _ in range(3):
            assert (await agent.ask(ASK))[1] == b"ok"  # what was kept is released: each second one is sent again
        await agent.ask(b"GET /.hive/way-out HTTP/1.1\r\nHost: x\r\n\r\n")  # the answer before is done with
        assert gate.upstreams.keep(1)
        head, _ = await agent.ask(ASK)
    assert head.startswith(b"HTTP/1.1 502 no-answer-from-the-upstream")
    assert len(gate.dialled) == 3


async def test_a_new_connection_that_dies_is_not_tried_again(tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        await visit.request()

    async with key_face(tmp_path, serve) as (gate, agent):
        head, body = await agent.ask(ASK)
    assert head.startswith(b"HTTP/1.1 502")
    assert json.loads(body)["error"]["type"] == "api_error"
    assert len(gate.dialled) == 1


async def test_a_connection_that_the_upstream_ended_is_not_used(tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async with key_face(tmp_path, serve) as (gate, agent):
        for _ in range(2):
            assert (await agent.ask(ASK))[1] == b"ok"
    assert len(gate.dialled) == 2


async def test_a_certificate_of_another_name_is_refused_before_the_key_is_sent(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def serve(visit: Visit) -> None:
        got.append(await visit.reader.read(1))

    async with upstream(serve, server_context("other.example")) as port:
        gate = FakeGate(policy(), {(HOST, 443): port}, {"anthropic": route(tmp_path)})
        async with agents(gate, tmp_path) as connect, asyncio.timeout(20):
            head, body = await (await connect()).ask(ASK)
    assert head.startswith(b"HTTP/1.1 502 api.anthropic.com:443-does-not-answer (its certificate is not trusted")
    assert b"Hostname mismatch" in body
    assert KEY.encode() not in head + body
    assert b"".join(got) == b""


async def test_a_key_that_changes_is_used_from_the_next_request_on(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(visit: Visit) -> None:
        while not visit.reader.at_eof():
            heads.append((await visit.request())[0])
            await visit.send(OK)

    async with key_face(tmp_path, serve) as (_, agent):
        await agent.ask(ASK)
        (tmp_path / "new").write_text("sk-second")
        (tmp_path / "new").chmod(0o600)
        (tmp_path / "new").rename(tmp_path / "key")
        await agent.ask(ASK)
    assert [head.partition(b"x-api-key: ")[2].split(b"\r\n")[0] for head in heads] == [KEY.encode(), b"sk-second"]


@pytest.mark.parametrize(
    ("change", "status", "kind", "verdict"),
    [
        ("held", b"403 the-budget-is-used-up", "permission_error", Verdict.HELD),
        ("mode", b"403 the-key-of-anthropic-cannot-be-used", "permission_error", Verdict.NO_KEY),
        ("missing", b"403 the-key-of-anthropic-cannot-be-used", "permission_error", Verdict.NO_KEY),
        ("other", b"404 there-is-no-route-anthropic-for-alice", "not_found_error", Verdict.NO_ROUTE),
    ],
)
async def test_a_closed_route_answers_in_the_form_of_an_api(
    change: str, status: bytes, kind: str, verdict: Verdict, tmp_path: Path
) -> None:
    async with key_face(tmp_path, answer_all) as (gate, agent):
        if change == "held":
            gate.policy = policy(held="the-budget-is-used-up")
        elif change == "mode":
            (tmp_path / "key").chmod(0o640)
        elif change == "missing":
            (tmp_path / "key").unlink()
        else:
            gate.routes_by_name = {"anthropic": replace(route(tmp_path), agents=frozenset({"bob"}))}
        head, body = await agent.ask(ASK)
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"x-should-retry: false" in head
    error = json.loads(body)
    assert (error["type"], error["error"]["type"]) == ("error", kind)
    assert status[4:].decode() in error["error"]["message"]
    assert KEY not in body.decode()
    assert gate.refused == [("route", "anthropic", 0, verdict)]
    assert not gate.booked


async def test_an_agent_that_goes_away_ends_the_paid_work_and_its_tokens_are_counted(tmp_path: Path) -> None:
    start = b'data: {"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}\n\n'
    ended = asyncio.Event()

    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.send(EVENTS + b"%x\r\n%s\r\n" % (len(start), start))
        assert await visit.is_ended()
        ended.set()

    async with key_face(tmp_path, serve) as (gate, agent):
        await agent.send(ASK)
        await agent.head()
        await agent.chunk()
        agent.writer.close()
        await ended.wait()
    assert gate.metered == [Metered(1, 5, 1, 0)]


async def test_a_route_without_tls_reaches_loopback_and_keeps_compression_if_nothing_is_metered(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(visit: Visit) -> None:
        heads.append((await visit.request())[0])
        await visit.send(OK)

    async with upstream(serve) as port:
        table = route(tmp_path, kind="http", upstream=f"http://own.example:{port}", value="Token {key}")
        gate = FakeGate(policy(), {("own.example", port): port}, {"anthropic": table})
        async with agents(gate, tmp_path) as connect, asyncio.timeout(20):
            request = b"DELETE /anthropic/any%2Fpath HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"
            assert (await (await connect()).ask(request))[1] == b"ok"
    assert heads[0].startswith(b"DELETE /any%2Fpath HTTP/1.1\r\nhost: own.example:")
    assert b"accept-encoding: gzip" in heads[0]
    assert b"authorization: Token sk-real-key" in heads[0]


async def test_no_header_goes_on_by_which_a_server_takes_another_method_path_or_host(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(visit: Visit) -> None:
        heads.append((await visit.request())[0])
        await visit.send(OK)

    overrides = (
        *("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override", "X-Original-URL"),
        *("X-Rewrite-URL", "X-Original-Host", "X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded", "X-Host"),
    )
    async with key_face(tmp_path, serve) as (_, agent):
        lines = "".join(f"{name}: DELETE\r\n" for name in overrides).encode()
        await agent.ask(ASK.replace(b"Content-Length", lines + b"X-Stainless-Lang: js\r\nContent-Length"))
    names = {line.partition(b":")[0] for line in heads[0].lower().split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept-encoding", b"x-stainless-lang", b"x-api-key", b"content-length"}


def test_a_git_key_is_basic_with_its_user(tmp_path: Path) -> None:
    own = route(tmp_path, kind="git", user="me")
    assert key_header(own, "tok") == (b"authorization", b"Basic bWU6dG9r")


SIZE, PIECE = 100 * 2**20, bytes(2**16)


async def carry_large_both_ways(folder: Path, size: int) -> int:
    """Send and get a body of `size` bytes through a route. Return what Python held of it at most."""
    got = 0

    async def serve(visit: Visit) -> None:
        nonlocal got
        await visit.head()
        while got < size:
            got += len(await visit.reader.read(2**16))
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(PIECE)):
            await visit.send(PIECE)

    async with key_face(folder, serve) as (gate, agent):
        tracemalloc.start()
        try:
            await agent.send(ASK.replace(b"Length: 2", b"Length: %d" % size).removesuffix(b"{}"))
            for _ in range(size // len(PIECE)):
                await agent.send(PIECE)
            await agent.head()
            left = size
            while left:
                left -= len(await agent.reader.read(2**16))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert gate.carried > 2 * size
    return peak


async def test_a_large_body_is_never_held_as_a_whole(tmp_path: Path) -> None:
    assert await carry_large_both_ways(tmp_path, 8 * 2**20) < 6 * 2**20


@pytest.mark.full
async def test_a_body_of_100_mb_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    assert await carry_large_both_ways(tmp_path, SIZE) < 6 * 2**20
