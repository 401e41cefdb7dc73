"""Plain HTTP: what goes on, what is refused, and how it is streamed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typing_extensions import override

from meta.network.verdict import Verdict
from tests.support.egress_http import OK, Agent, FakeGate, Upstream, Visit, agents, converse, policy, upstream

GET = b"GET http://web.example/page?q=1 HTTP/1.1\r\nHost: web.example\r\n\r\n"


async def test_a_request_is_written_anew_without_the_headers_of_the_connection(tmp_path: Path) -> None:
    there = Upstream()

    async def talk(agent: Agent) -> None:
        head, body = await agent.ask(
            b"GET http://WEB.example:80/page?q=1 HTTP/1.1\r\nHost: web.example\r\nX-Own: 1\r\nX-Hop: 2\r\n"
            b"Connection: keep-alive, x-hop\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\n\r\n"
        )
        assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"ok")

    gate = await converse(tmp_path, there, talk)
    assert there.heads == [b"GET /page?q=1 HTTP/1.1\r\nhost: web.example\r\nx-own: 1\r\n\r\n"]
    assert [(entry.kind, entry.host, entry.port) for entry in gate.booked] == [("http", "web.example", 80)]
    assert gate.booked[0].sent == len(there.heads[0])


async def test_requests_of_one_connection_share_an_upstream_and_are_each_decided(tmp_path: Path) -> None:
    there = Upstream()

    async def talk(agent: Agent) -> None:
        assert (await agent.ask(GET))[1] == b"ok"
        assert (await agent.ask(GET))[1] == b"ok"
        head, _ = await agent.ask(GET.replace(b"web.example", b"other.example"))
        assert head.startswith(b"HTTP/1.1 403 other.example:80-is-not-on-the-list-of-alice")

    gate = await converse(tmp_path, there, talk)
    assert (there.connections, len(gate.dialled)) == (1, 1)
    assert gate.refused == [("http", "other.example", 80, Verdict.NOT_LISTED)]


async def test_an_agent_with_a_limit_of_bytes_keeps_its_connection_too(tmp_path: Path) -> None:
    class SlowGate(FakeGate):
        @override
        async def pace(self, count: int) -> None:
            for _ in range(50 if count > len(OK) else 0):  # a request waits longer than an answer takes
                await asyncio.sleep(0)

    there = Upstream()
    async with upstream(there) as port:
        gate = SlowGate(policy("web.example"), {("web.example", 80): port})
        async with agents(gate, tmp_path) as connect, asyncio.timeout(20):
            agent = await connect()
            post = GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc")
            assert [(await agent.ask(post))[1], (await agent.ask(post))[1]] == [b"ok", b"ok"]
    assert (there.connections, there.bodies) == (1, [b"abc", b"abc"])


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    there = Upstream()

    async def talk(agent: Agent) -> None:
        await agent.send(GET + GET.replace(b"q=1", b"q=2"))
        assert [(await agent.answer())[1], (await agent.answer())[1]] == [b"ok", b"ok"]

    await converse(tmp_path, there, talk)
    assert [head.split()[1] for head in there.heads] == [b"/page?q=1", b"/page?q=2"]


async def test_behind_a_connect_to_port_80_each_host_is_checked(tmp_path: Path) -> None:
    there = Upstream()

    async def talk(agent: Agent) -> None:
        assert (await agent.ask(b"GET /a HTTP/1.1\r\nHost: web.example\r\n\r\n"))[1] == b"ok"
        head, body = await agent.ask(b"GET /b HTTP/1.1\r\nHost: other.example\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 other.example:80-is-not-web.example:80")
        assert body == b"other.example:80-is-not-web.example:80\n"

    gate = await converse(tmp_path, there, talk, port_80="web.example")
    assert len(there.heads) == 1
    assert gate.refused == [("http", "web.example", 80, Verdict.HOST_HEADER)]


async def test_a_chunked_body_arrives_while_it_is_being_sent(tmp_path: Path) -> None:
    first = asyncio.Event()

    async def serve(visit: Visit) -> None:
        await visit.head()
        assert await Agent(visit.reader, visit.writer).chunk() == b"one"
        first.set()
        assert await Agent(visit.reader, visit.writer).chunk() == b"two"
        await visit.send(OK)

    async def talk(agent: Agent) -> None:
        await agent.send(
            b"POST http://web.example/ HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        )
        await first.wait()
        assert (await agent.ask(b"3\r\ntwo\r\n0\r\n\r\n"))[1] == b"ok"

    await converse(tmp_path, serve, talk)


async def test_each_piece_of_an_answer_arrives_before_the_next_is_sent(tmp_path: Path) -> None:
    seen = [asyncio.Event() for _ in range(5)]

    async def serve(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n")
        for event in seen:
            await visit.send(b"6\r\ndata:\n\r\n")
            await event.wait()
        await visit.send(b"0\r\n\r\n")

    async def talk(agent: Agent) -> None:
        await agent.send(GET)
        assert b"content-length" not in (await agent.head()).lower()
        for event in seen:
            assert await agent.chunk() == b"data:\n"
            event.set()
        assert await agent.chunk() == b""

    await converse(tmp_path, serve, talk)


async def test_an_answer_of_unknown_length_ends_with_the_connection_for_http_1_0(tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    async def talk(agent: Agent) -> None:
        head, body = await agent.ask(b"GET http://web.example/ HTTP/1.0\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert body == b"all of it"

    await converse(tmp_path, serve, talk)


async def test_a_client_that_waits_for_100_gets_it_only_if_the_request_is_allowed(tmp_path: Path) -> None:
    there = Upstream()
    expecting = b"POST http://%s/ HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

    async def talk(agent: Agent) -> None:
        await agent.send(expecting % (b"web.example", b"web.example"))
        assert (await agent.head()).startswith(b"HTTP/1.1 100")
        assert (await agent.ask(b"abc"))[1] == b"ok"
        head, _ = await agent.ask(expecting % (b"other.example", b"other.example"))
        assert head.startswith(b"HTTP/1.1 403")

    await converse(tmp_path, there, talk)
    assert there.bodies == [b"abc"]
    assert b"expect" not in there.heads[0].lower()


async def test_a_websocket_is_carried_both_ways_after_101(tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        head = await visit.head()
        assert b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n" in head
        assert b"\r\nsec-websocket-key: x\r\n" in head
        await visit.send(
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\nhello"
        )
        assert await visit.reader.readexactly(4) == b"frog"
        await visit.send(b"bye")

    async def talk(agent: Agent) -> None:
        await agent.send(
            b"GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: x\r\n\r\n"
        )
        assert b"sec-websocket-accept: y" in await agent.head()
        assert await agent.reader.readexactly(5) == b"hello"
        await agent.send(b"frog")
        assert await agent.reader.read() == b"bye"

    gate = await converse(tmp_path, serve, talk)
    assert gate.booked[0].received > 8


async def test_an_upgrade_that_would_hide_the_next_hosts_is_dropped(tmp_path: Path) -> None:
    there = Upstream()

    async def talk(agent: Agent) -> None:
        request = GET.replace(
            b"\r\n\r\n", b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
        )
        assert (await agent.ask(request))[1] == b"ok"
        assert (await agent.ask(request))[1] == b"ok"

    await converse(tmp_path, there, talk)
    assert b"upgrade" not in there.heads[0].lower()
    assert b"http2" not in there.heads[0].lower()


async def test_a_redirect_is_handed_to_the_agent(tmp_path: Path) -> None:
    there = Upstream(b"HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n")

    async def talk(agent: Agent) -> None:
        head, _ = await agent.ask(GET)
        assert b"location: http://other.example/" in head.lower()

    gate = await converse(tmp_path, there, talk)
    assert gate.dialled == [("web.example", 80)]


async def test_an_agent_that_goes_away_ends_the_upstream_s_work(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def serve(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert await visit.is_ended()
        ended.set()

    async def talk(agent: Agent) -> None:
        await agent.send(GET)
        await agent.head()
        agent.writer.close()
        await ended.wait()

    gate = await converse(tmp_path, serve, talk)
    assert gate.booked[0].end == "closed"


async def test_an_answer_that_breaks_off_is_seen_to_break_off(tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    async def talk(agent: Agent) -> None:
        await agent.send(GET)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await agent.answer()

    await converse(tmp_path, serve, talk)


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 No\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad\r\n\r\n"]
)
async def test_an_upstream_without_a_clean_answer_is_reported_as_502(answer: bytes, tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        await visit.head()
        await visit.send(answer)

    async def talk(agent: Agent) -> None:
        head, _ = await agent.ask(GET)
        assert head.startswith(b"HTTP/1.1 502 no-answer-from-the-upstream")

    await converse(tmp_path, serve, talk)


async def test_a_policy_that_changes_ends_the_request_that_is_no_longer_allowed(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def serve(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert await visit.is_ended()
        ended.set()

    async with upstream(serve) as port:
        gate = FakeGate(policy("web.example"), {("web.example", 80): port})
        async with agents(gate, tmp_path) as connect, asyncio.timeout(20):
            agent = await connect()
            await agent.send(GET)
            await agent.head()
            assert gate.booked_task is not None
            gate.booked_task.cancel()
            await ended.wait()


async def test_an_upstream_without_a_byte_for_the_operator_s_idle_seconds_is_given_up(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def serve(visit: Visit) -> None:
        await visit.head()
        assert await visit.is_ended()
        ended.set()

    async with upstream(serve) as port:
        gate = FakeGate(policy("web.example"), {("web.example", 80): port}, idle_seconds=0.02)
        async with agents(gate, tmp_path) as connect, asyncio.timeout(20):
            agent = await connect()
            head, _ = await agent.ask(GET)
            assert head.startswith(b"HTTP/1.1 502 no-answer-from-the-upstream (in 0.02 s)")
            await ended.wait()
    assert gate.booked[0].end == "idle"


async def test_an_early_answer_is_given_and_the_rest_of_the_body_is_not_waited_for(tmp_path: Path) -> None:
    async def serve(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await visit.is_ended()

    async def talk(agent: Agent) -> None:
        head, _ = await agent.ask(
            b"POST http://web.example/ HTTP/1.1\r\nHost: web.example\r\nContent-Length: 9\r\n\r\nabc"
        )
        assert head.startswith(b"HTTP/1.1 413")
        assert await agent.is_ended()

    await converse(tmp_path, serve, talk)


async def test_a_head_is_answered_without_a_body(tmp_path: Path) -> None:
    there = Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")

    async def talk(agent: Agent) -> None:
        await agent.send(GET.replace(b"GET", b"HEAD"))
        assert b"content-length: 1000" in (await agent.head()).lower()
        await agent.send(GET.replace(b"GET", b"HEAD").replace(b"web.", b"other."))
        assert (await agent.head()).startswith(b"HTTP/1.1 403")
        assert await agent.is_ended()

    await converse(tmp_path, there, talk)
