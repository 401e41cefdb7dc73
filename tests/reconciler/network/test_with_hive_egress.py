"""From a refusal to the answer, and back: the commands over a daemon and the real hive-egress."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from meta.names import OPERATOR, AgentName
from reconciler.network.client import EgressClient
from reconciler.network.process import EgressCommand, EgressProcess, end, running

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")
WAIT = 20.0


@pytest.fixture
async def upstream() -> AsyncIterator[int]:
    """The port of a server that greets."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def hive(daemon: Daemon, upstream: int) -> AsyncIterator[Daemon]:
    """The daemon, with a name for the upstream, and no hive-egress left behind."""
    layout = daemon.world.layout
    layout.network_file.write_text(
        f'private = ["target.example:{upstream}"]\n[hosts]\n"target.example" = "127.0.0.1"\n', encoding="utf-8"
    )
    layout.egress(ALICE).mkdir(parents=True, exist_ok=True)
    command = EgressCommand.of(layout, daemon.world.config, layout.egress_control, daemon.service.revision)
    await EgressProcess(command, {}).revive(EgressClient(layout.egress_control))
    following = asyncio.create_task(daemon.service.way_out.run())
    yield daemon
    following.cancel()
    await asyncio.wait({following})
    for which, _ in running(layout.egress_state):
        await end(which, 2)


async def connect(socket: Path, target: str) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a tunnel. Return the status line, and the connection."""
    async with asyncio.timeout(WAIT):
        while not socket.exists():
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    return head.splitlines()[0], reader, writer


async def test_a_refused_host_is_reported_asked_for_allowed_and_taken_back(hive: Daemon, upstream: int) -> None:
    service, target = hive.service, f"target.example:{upstream}"
    socket = hive.world.layout.egress(ALICE) / "egress.sock"
    before = await service.events.last()
    await service.way_out.push()
    status, _, refused = await connect(socket, target)
    refused.close()
    assert status.startswith("HTTP/1.1 403 ")

    async with asyncio.timeout(WAIT), service.events.subscribe(before) as events:
        async for event in events:  # by itself, from the report
            if event.kind == "network_refused":
                break
    (view,) = await service.network(ALICE)
    assert [(each.rule, each.count) for each in view.refused] == [(target, 1)]
    (row,) = [each for each in (await service.status()).agents if each.agent == ALICE]
    assert f"wanted {target}, once: `hive network allow alice {target}`" in row.conditions

    request = await service.grants.request(ALICE, "target.example", upstream, "to greet it")
    allowed = await service.grants.allow(ALICE, str(request.id), 600, "operator")
    assert allowed.answered == (request.id,)
    (mail,) = [each.body for each in await service.broker.recent(ALICE, 9) if each.sender == OPERATOR]
    assert mail.startswith(f"Your request {request.id}: {target} is allowed until ")

    status, reader, tunnel = await connect(socket, target)
    assert status.startswith("HTTP/1.1 200 ")
    async with asyncio.timeout(WAIT):
        assert await reader.readline() == b"hello\n"
    seen = (await service.network.connections(ALICE, 0)).connections
    assert [(str(each.verdict), each.open) for each in seen] == [("not-listed", False), ("allowed", True)]

    await service.grants.revoke(ALICE, target, "operator")
    async with asyncio.timeout(WAIT):
        assert await reader.read() == b""  # the tunnel ended with the rule
    tunnel.close()
    kinds = [event.kind for event in await service.events.since(None) if event.kind.startswith("network")]
    assert kinds == ["network_refused", "network_requested", "network_allowed", "network_revoked"]
