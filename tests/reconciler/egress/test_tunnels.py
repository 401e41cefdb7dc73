"""Tunnels: bytes both ways, ends, limits, and the ClientHello in front."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from meta.network.policy import AgentPolicy, Policy
from meta.network.rule import parse_rule
from meta.network.verdict import Verdict
from reconciler.egress import connection
from reconciler.egress.limits import CHUNK, SMALL_CHUNK, STALLED_LIMIT, Pace
from reconciler.egress.tunnel import Carrier
from tests.reconciler.egress.lab import ALICE, WAIT, Lab, connect, eventually, hello


async def test_bytes_go_both_ways_and_are_counted(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
    await eventually(lambda: bool(way_out.records()) and not way_out.report().open)

    (record,) = way_out.records()

    assert (record.kind, record.host, record.port) == ("tunnel", "up.example", way_out.upstream.port)
    assert (record.verdict, record.sent, record.received, record.end) == (Verdict.ALLOWED, 5, 5, "closed")
    assert (way_out.report().sent, way_out.report().received) == (5, 5)
    assert way_out.lines[-1].startswith(f"alice tunnel {target} allowed closed sent=5 received=5 seconds=")


async def test_a_connection_has_its_number_from_its_end_so_that_a_reader_misses_none(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    _, writer = await way_out.tunnel(target)
    await way_out.status("crates.io:443")

    before = [(record.number, record.open) for record in way_out.server.connections(ALICE, 0)]
    writer.close()
    await eventually(lambda: not way_out.report().open)
    after = [(record.number, record.open) for record in way_out.server.connections(ALICE, 1)]

    assert before == [(1, False), (0, True)]
    assert after == [(2, False)]


async def test_what_is_refused_late_is_new_to_the_agent(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)
    await way_out.status("crates.io:443")
    gate = way_out.server._gates[ALICE]
    first, seen = gate.refused_after(0)

    writer.write(hello("evil.example"))
    await reader.read()
    await eventually(lambda: not way_out.report().open)

    assert first == [("crates.io", 443, 1)]
    assert gate.refused_after(seen) == ([("evil.example", way_out.upstream.port, 1)], seen + 1)


async def test_what_the_server_sends_first_is_not_held_back(way_out: Lab) -> None:
    way_out.upstream.greeting = b"SSH-2.0-test\r\n"
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)

    reader, writer = await way_out.tunnel(target)

    assert await reader.readline() == b"SSH-2.0-test\r\n"
    writer.close()


async def test_the_end_of_one_side_is_carried_and_the_other_goes_on(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)

    writer.write(b"x" * 300_000)
    writer.write_eof()

    assert len(await reader.read(-1)) == 300_000
    assert way_out.upstream.ended.is_set()
    await eventually(lambda: not way_out.report().open)
    writer.close()


async def test_a_client_that_leaves_ends_the_tunnel(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    _, writer = await way_out.tunnel(target)

    writer.close()

    await eventually(lambda: not way_out.report().open)
    assert way_out.records()[0].end == "closed"


async def test_what_a_client_sent_before_it_left_arrives(way_out: Lab) -> None:
    way_out.upstream.greeting = b"x" * 1_000_000
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    _, writer = await way_out.tunnel(target)

    writer.write(content := bytes(range(256)) * 4_000)
    await writer.drain()
    writer.close()

    await eventually(lambda: not way_out.report().open)
    assert way_out.upstream.got == content


async def test_an_answer_before_the_end_of_the_question_arrives(way_out: Lab) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"too large")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    way_out.configure(f'private = ["up.example:{port}"]')
    await way_out.server.tick()
    await way_out.push(f"up.example:{port}")
    reader, writer = await way_out.tunnel(f"up.example:{port}")

    writer.write(b"x" * 1000)
    answer = await reader.readexactly(9)
    with contextlib.suppress(OSError):
        for _ in range(20):
            writer.write(b"x" * 100_000)
            await writer.drain()

    assert answer == b"too large"
    await eventually(lambda: not way_out.report().open)
    server.close()


async def test_a_slow_client_holds_the_server_back(way_out: Lab) -> None:
    way_out.upstream.greeting = bytes(range(256)) * 40_000  # 10 MB, of which the kernel takes a part
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(way_out.folder() / "egress.sock"))
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, connect(target))
    assert (await loop.sock_recv(client, 39)).endswith(b"\r\n\r\n")

    await eventually(lambda: bool(way_out.server._carrier._stalled))
    received = way_out.report().received
    greeting = bytearray()
    while len(greeting) < len(way_out.upstream.greeting):
        greeting += await loop.sock_recv(client, 2**20)

    assert received < 2**20
    assert greeting == way_out.upstream.greeting
    assert not way_out.server._carrier._stalled
    client.close()


def test_what_one_agent_does_not_take_makes_its_own_chunks_small_and_no_others() -> None:
    carrier = Carrier()
    alice, bob = (Pace(lambda: None, lambda: 0.0) for _ in range(2))
    carrier.stall(alice, STALLED_LIMIT)

    assert (len(carrier.buffer(alice)), len(carrier.buffer(bob))) == (SMALL_CHUNK, CHUNK)

    carrier.stall(alice, -STALLED_LIMIT)

    assert len(carrier.buffer(alice)) == CHUNK


async def test_an_agent_has_a_limit_of_connections(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    way_out.folder()
    await way_out.server.set_policy(Policy({ALICE: AgentPolicy((parse_rule(target),), connections=2)}))
    tunnels = [await way_out.tunnel(target) for _ in range(2)]

    refused = await way_out.status(target)
    tunnels[0][1].close()
    await eventually(lambda: way_out.report().open == 1)

    assert refused.startswith("HTTP/1.1 429 alice-has-2-connections")
    assert "200" in await way_out.status(target)
    tunnels[1][1].close()


async def test_a_tunnel_without_bytes_is_ended_after_the_operators_time(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)
    now = asyncio.get_running_loop().time()

    way_out.server._carrier.sweep(now + 3500, 3600)
    assert way_out.report().open == 1
    way_out.server._carrier.sweep(now + 3601, 3600)

    assert await reader.read() == b""
    assert way_out.records()[0].end == "idle"
    writer.close()


async def test_a_half_open_tunnel_is_ended_sooner(way_out: Lab) -> None:
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    way_out.configure(f'private = ["up.example:{port}"]')
    await way_out.server.tick()
    await way_out.push(f"up.example:{port}")
    reader, writer = await way_out.tunnel(f"up.example:{port}")
    writer.write_eof()
    (tunnel,) = way_out.server._carrier.tunnels
    await eventually(lambda: tunnel.outward.ended)

    way_out.server._carrier.sweep(asyncio.get_running_loop().time() + 901, 3600)

    assert await reader.read() == b""
    silent.set()
    server.close()
    writer.close()


async def test_bytes_per_second_hold_for_both_ways_together(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    way_out.folder()
    policy = AgentPolicy((parse_rule(target),), bytes_per_second=200_000)
    await way_out.server.set_policy(Policy({ALICE: policy}))
    reader, writer = await way_out.tunnel(target)
    start = asyncio.get_running_loop().time()

    writer.write(b"x" * 40_000)
    await reader.readexactly(40_000)

    assert 0.1 < asyncio.get_running_loop().time() - start < WAIT
    writer.close()


async def test_a_head_that_never_ends_is_answered_and_closed(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    await way_out.push()
    reader, writer = await way_out.ask(b"CONNECT up.exam")

    answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 429 the-head-of-the-request-did-not-come-in-time")
    writer.close()
