"""The sockets of an agent: made, noticed, made again, closed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.daemon.agent_sockets import AgentSockets, admission
from meta.errors import TransientError
from meta.names import AgentName

if TYPE_CHECKING:
    from tests.api.conftest import Hive
ALICE = AgentName("alice")
Json = dict[str, object]


async def test_present_notices_a_socket_that_was_deleted_or_replaced(pods: Hive) -> None:
    path = pods.layout.harness_socket(ALICE)
    assert pods.sockets.present(ALICE)
    path.unlink()
    assert not pods.sockets.present(ALICE)
    path.touch()
    assert not pods.sockets.present(ALICE)


async def test_opening_again_replaces_what_was_deleted_but_never_the_directory(pods: Hive) -> None:
    directory = pods.layout.sockets(ALICE)
    before = directory.stat().st_ino
    pods.layout.mcp_socket(ALICE).unlink()
    await pods.sockets.open(ALICE, None)
    assert pods.sockets.present(ALICE)
    assert directory.stat().st_ino == before
    (answer,) = await pods.ask(ALICE, '{"cmd":"whoami"}')
    assert answer["name"] == "alice"


@pytest.mark.parametrize("name", ["mcp.sock", "http.sock", "harness.sock"])
async def test_open_connections_go_on_when_a_socket_is_made_again(pods: Hive, name: str) -> None:
    reader, writer = await asyncio.open_unix_connection(pods.layout.mcp_socket(ALICE))
    (pods.layout.sockets(ALICE) / name).unlink()
    await pods.sockets.open(ALICE, None)
    assert pods.sockets.present(ALICE)
    async with asyncio.timeout(10):
        writer.write(b'{"cmd":"whoami"}\n')
        assert b"alice" in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_closing_removes_the_sockets_and_keeps_the_directory(pods: Hive) -> None:
    await pods.sockets.close(ALICE)
    assert not pods.sockets.present(ALICE)
    assert list(pods.layout.sockets(ALICE).iterdir()) == []
    await pods.sockets.close(ALICE)


async def test_sockets_do_not_open_before_there_is_a_service(tmp_path: Path, pods: Hive) -> None:
    with pytest.raises(TransientError):
        await AgentSockets(pods.layout, pods.config, asyncio.get_running_loop().create_future()).open(
            AgentName("bob"), None
        )


def test_only_the_agents_own_uid_range_and_the_host_may_use_its_sockets() -> None:
    admit = admission(1_000_000)
    assert admit(1_000_000)
    assert admit(1_065_535)
    assert admit(0)
    assert not admit(1_065_536)
    assert not admit(999_999)
    assert not admit(None)


@pytest.mark.parametrize("name", ["mcp.sock", "harness.sock"])
async def test_an_agent_cannot_take_all_descriptors_of_the_daemon(pods: Hive, name: str) -> None:
    limit = {"mcp.sock": 16, "harness.sock": 4}[name]
    path = str(pods.layout.sockets(ALICE) / name)
    async with asyncio.timeout(10):
        peers = [await asyncio.open_unix_connection(path) for _ in range(limit + 1)]
        assert b"too many connections" in await peers[-1][0].readline()
        for _, writer in peers:
            writer.close()
            await writer.wait_closed()
