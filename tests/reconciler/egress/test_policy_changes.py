"""What ends, and what goes on, when a policy, a grant or the operator's file changes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from meta.network.policy import AgentPolicy, Grant, Policy
from meta.network.rule import parse_rule
from reconciler.egress import resolver
from reconciler.egress.gate import AgentGate
from tests.reconciler.egress.lab import ALICE, BOB, NOON, WAIT, Lab, eventually


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


async def test_an_agent_to_keep_goes_on_with_its_last_policy(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)
    unknown = Policy({}, frozenset({ALICE, BOB}))

    assert await way_out.server.set_policy(unknown) == unknown.revision

    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    assert list(way_out.server.report().agents) == [ALICE]
    await way_out.server.close()
    await way_out.start()
    assert "200" in await way_out.status(target)


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


async def test_a_moment_of_an_empty_operator_file_ends_nothing(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)
    text = way_out.options.network.read_text()

    way_out.options.network.write_text("")
    await way_out.server.tick()
    way_out.options.network.write_text(text)
    await way_out.server.tick()

    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"


async def test_plain_http_to_a_private_address_ends_when_private_is_taken_back(way_out: Lab) -> None:
    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switched\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(switch, "127.0.0.1", 0)
    target = f"up.example:{server.sockets[0].getsockname()[1]}"
    way_out.configure(f'private = ["{target}"]')
    await way_out.server.tick()
    await way_out.push(target)
    upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    reader, _ = await way_out.ask(f"GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{upgrade}".encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")

    way_out.configure("")
    await way_out.server.tick()

    async with asyncio.timeout(WAIT):
        assert await reader.read() == b""
    server.close()


async def test_a_grant_ends_after_the_clock_was_set_back(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(grants=(Grant(parse_rule(target), NOON + 60),))
    way_out.now = NOON + 61
    await way_out.server.tick()
    way_out.now = NOON + 30
    reader, _ = await way_out.tunnel(target)
    await way_out.server.tick()

    way_out.now = NOON + 61
    await way_out.server.tick()

    assert await reader.read() == b""


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
