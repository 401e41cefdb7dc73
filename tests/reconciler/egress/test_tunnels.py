"""Tunnels: bytes both ways, ends, limits, and the ClientHello in front."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest

from meta.network.policy import AgentPolicy, Grant, Policy
from meta.network.rule import parse_rule
from meta.network.verdict import Verdict
from reconciler.egress import connection, resolver, sni
from reconciler.egress.client_hello import ALERT
from reconciler.egress.gate import AgentGate
from tests.reconciler.egress.lab import ALICE, BOB, NOON, Lab, connect, hello

AFTER = 10.0
"""Seconds after which a test that waits has failed."""


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the event loop has made a condition true."""
    async with asyncio.timeout(AFTER):
        while not condition():
            await asyncio.sleep(0)


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
    assert gate.refused_after(seen) == ([("up.example", way_out.upstream.port, 1)], seen + 1)


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


async def test_a_policy_that_changes_while_it_is_dialled_is_obeyed(
    way_out: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"up.example:{way_out.upstream.port}"
    dialled, go_on = asyncio.Event(), asyncio.Event()

    async def slow(addresses: list[str], port: int) -> socket.socket:
        connection = await resolver.connect(addresses, port)
        dialled.set()
        await go_on.wait()
        return connection

    monkeypatch.setattr("reconciler.egress.gate.connect", slow)
    await way_out.push(target)
    status = asyncio.create_task(way_out.status(target))
    await dialled.wait()

    await way_out.push()
    go_on.set()

    assert "is-not-on-the-list-of-alice" in await status


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

    await eventually(lambda: way_out.server._carrier.stalled > 0)
    received = way_out.report().received
    greeting = bytearray()
    while len(greeting) < len(way_out.upstream.greeting):
        greeting += await loop.sock_recv(client, 2**20)

    assert received < 2**20
    assert greeting == way_out.upstream.greeting
    assert way_out.server._carrier.stalled == 0
    client.close()


async def test_a_policy_ends_exactly_the_tunnels_that_it_does_not_allow(way_out: Lab) -> None:
    port = way_out.upstream.port
    way_out.names.addresses["other.example"] = ["127.0.0.1"]
    way_out.configure(f'private = ["up.example:{port}", "other.example:{port}"]')
    await way_out.server.tick()
    await way_out.push(f"up.example:{port}", f"other.example:{port}")
    kept, kept_writer = await way_out.tunnel(f"up.example:{port}")
    ended, _ = await way_out.tunnel(f"other.example:{port}")

    await way_out.push(f"up.example:{port}")

    assert await ended.read() == b""
    kept_writer.write(b"still here")
    assert await kept.readexactly(10) == b"still here"
    assert [record.end for record in way_out.records()] == ["policy", ""]


async def test_a_grant_ends_by_itself_with_its_tunnel(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(grants=(Grant(parse_rule(target), NOON + 60),))
    reader, writer = await way_out.tunnel(target)

    way_out.now = NOON + 59
    await way_out.server.tick()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    way_out.now = NOON + 60
    await way_out.server.tick()

    assert await reader.read() == b""
    assert "is-not-on-the-list-of-alice" in await way_out.status(target)
    assert way_out.records()[0].end == "policy"
    writer.close()


async def test_a_private_host_that_the_operator_takes_back_loses_its_tunnels(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)

    way_out.configure("private = []")
    await way_out.server.tick()

    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("change", ["the policy", "the operator's file"])
async def test_a_route_that_ends_ends_its_connections_and_no_other(way_out: Lab, change: str) -> None:
    """A route that is held ends none: the answer that it waits for is paid already."""
    way_out.configure(
        '[credentials.git]\nfile = "/none"\n[credentials.http]\nfile = "/none"\nupstream = "https://a.example"'
    )
    await way_out.server.tick()
    way_out.folder()
    await way_out.server.set_policy(Policy({ALICE: AgentPolicy(routes=frozenset({"git", "http"}))}))
    gate = way_out.server._gates[ALICE]
    requests = {name: asyncio.create_task(_ask_route(gate, name)) for name in ("git", "http")}
    await eventually(lambda: way_out.report().open == 2)

    await way_out.server.set_policy(Policy({ALICE: AgentPolicy(routes=frozenset({"git", "http"}), held="used up")}))
    assert way_out.report().open == 2
    if change == "the policy":
        await way_out.server.set_policy(Policy({ALICE: AgentPolicy(routes=frozenset({"http"}))}))
    else:
        way_out.configure('[credentials.http]\nfile = "/none"\nupstream = "https://a.example"')
        await way_out.server.tick()
    await asyncio.wait([requests["git"]])

    assert requests["git"].cancelled()
    assert not requests["http"].done()
    assert [record.end for record in way_out.records()] == ["policy", ""]
    requests["http"].cancel()
    await asyncio.wait([requests["http"]])


async def _ask_route(gate: AgentGate, route: str) -> None:
    with gate.account("route", "a.example", 443, route):
        await asyncio.Event().wait()


async def test_a_tunnel_to_a_global_address_needs_no_private(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"up.example:{way_out.upstream.port}"
    monkeypatch.setattr("reconciler.egress.addresses.refusal", lambda address, port, private: "")
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)

    way_out.configure("private = []")
    await way_out.server.tick()
    writer.write(b"goes on")

    assert await reader.readexactly(7) == b"goes on"


async def test_an_agent_without_a_policy_loses_its_socket_and_tunnels(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)

    await way_out.push(target, agent=BOB)

    assert await reader.read() == b""
    assert not (way_out.folder() / "egress.sock").exists()
    assert "200" in await way_out.status(target, BOB)
    writer.close()


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

    assert 0.1 < asyncio.get_running_loop().time() - start < AFTER
    writer.close()


async def test_a_head_that_never_ends_is_answered_and_closed(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    await way_out.push()
    reader, writer = await way_out.ask(b"CONNECT up.exam")

    answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 429 the-head-of-the-request-did-not-come-in-time")
    writer.close()


@pytest.fixture
def at_tls_port(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose upstream stands at the port of TLS: no test may need port 443 of the machine."""
    monkeypatch.setattr(sni, "TLS_PORT", way_out.upstream.port)
    return way_out


async def test_a_hello_that_names_the_host_passes_whole(at_tls_port: Lab) -> None:
    target = f"up.example:{at_tls_port.upstream.port}"
    await at_tls_port.push(target)
    data = hello("up.example")
    reader, writer = await at_tls_port.tunnel(target)

    for byte in data[:40]:
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    writer.write(data[40:] + b"more")

    assert await reader.readexactly(len(data) + 4) == data + b"more"
    writer.close()


async def test_a_hello_that_comes_with_the_connect_passes(at_tls_port: Lab) -> None:
    target = f"up.example:{at_tls_port.upstream.port}"
    await at_tls_port.push(target)
    data = hello("up.example")

    reader, writer = await at_tls_port.ask(connect(target) + data)

    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(len(data)) == data
    writer.close()


async def test_a_hello_may_name_another_host_that_is_allowed(at_tls_port: Lab) -> None:
    port = at_tls_port.upstream.port
    await at_tls_port.push(f"up.example:{port}", f"other.example:{port}")
    data = hello("other.example")
    reader, writer = await at_tls_port.tunnel(f"up.example:{port}")

    writer.write(data)

    assert await reader.readexactly(len(data)) == data
    writer.close()


@pytest.mark.parametrize(
    ("first", "verdict", "answer"),
    [
        (hello("evil.example"), Verdict.SNI, ALERT),
        (hello(None), Verdict.SNI, ALERT),
        (b"\x16\x03\x01\x00\x05garbage of a record", Verdict.SNI, ALERT),
        (b"GET / HTTP/1.1\r\n\r\n", Verdict.NOT_TLS, b""),
        (b"SSH-2.0-OpenSSH\r\n", Verdict.NOT_TLS, b""),
    ],
    ids=["other", "none", "garbage", "http", "ssh"],
)
async def test_at_the_port_of_tls_other_bytes_do_not_pass(
    at_tls_port: Lab, first: bytes, verdict: Verdict, answer: bytes
) -> None:
    at_tls_port.upstream.greeting = b"held back"
    target = f"up.example:{at_tls_port.upstream.port}"
    await at_tls_port.push(target)
    reader, writer = await at_tls_port.tunnel(target)

    writer.write(first)

    assert await reader.read() == answer
    assert at_tls_port.report().verdicts == {verdict: 1}
    assert at_tls_port.upstream.got == b""
    writer.close()


async def test_an_address_needs_no_name_in_its_hello(at_tls_port: Lab) -> None:
    port = at_tls_port.upstream.port
    at_tls_port.configure(f'private = ["127.0.0.1:{port}"]')
    await at_tls_port.server.tick()
    await at_tls_port.push(f"127.0.0.1:{port}")
    data = hello(None)
    reader, writer = await at_tls_port.tunnel(f"127.0.0.1:{port}")

    writer.write(data)

    assert await reader.readexactly(len(data)) == data
    writer.close()


@pytest.mark.parametrize("first", [b"", hello("up.example")[:50]], ids=["none", "a part"])
async def test_a_hello_that_does_not_come_ends_the_tunnel(at_tls_port: Lab, first: bytes) -> None:
    target = f"up.example:{at_tls_port.upstream.port}"
    await at_tls_port.push(target)
    reader, writer = await at_tls_port.tunnel(target)
    writer.write(first)
    await eventually(lambda: at_tls_port.report().sent == len(first))
    now = asyncio.get_running_loop().time()

    at_tls_port.server._carrier.sweep(now, 3600)
    at_tls_port.server._carrier.sweep(now + 29, 3600)
    assert at_tls_port.report().open == 1
    at_tls_port.server._carrier.sweep(now + 30, 3600)

    assert await reader.read() == (ALERT if first else b"")
    assert at_tls_port.report().verdicts == {Verdict.LIMIT: 1}


async def test_at_other_ports_a_client_may_say_nothing(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    await way_out.tunnel(target)
    now = asyncio.get_running_loop().time()

    way_out.server._carrier.sweep(now, 3600)
    way_out.server._carrier.sweep(now + 60, 3600)

    assert way_out.report().open == 1


async def test_at_other_ports_tls_may_not_name_a_host_that_is_not_allowed(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)

    writer.write(hello("evil.example"))

    assert await reader.read() == ALERT
    assert way_out.report().verdicts == {Verdict.SNI: 1}
    assert way_out.upstream.got == b""
    writer.close()


async def test_at_other_ports_tls_needs_no_name(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    data = hello(None)
    reader, writer = await way_out.tunnel(target)

    writer.write(data)

    assert await reader.readexactly(len(data)) == data
    writer.close()
