"""The link on an agent's `harness.sock`: hello, states, and peers that misbehave."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from meta.names import AgentName

if TYPE_CHECKING:
    from tests.api.conftest import Hive
ALICE = AgentName("alice")
Json = dict[str, object]


async def link(pods: Hive, *lines: Json) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(pods.layout.harness_socket(ALICE)))
    for line in lines:
        writer.write(json.dumps(line).encode() + b"\n")
    return reader, writer


async def test_a_harness_that_says_hello_is_connected_and_is_probed(pods: Hive) -> None:
    reader, writer = await link(pods, {"up": "hello", "generation": "g", "nonce": "n", "later": "field"})
    async with asyncio.timeout(10):
        probe = json.loads(await reader.readline())
        assert probe["down"] == "probe"
        view = pods.fake.links.view(ALICE)
        assert (view.connected, view.generation, view.nonce, view.answered) == (True, "g", "n", False)
        writer.write(b"nonsense\n")
        writer.write(json.dumps({"up": "state", "state": "idle", "probe": probe["probe"]}).encode() + b"\n")
        while not pods.fake.links.view(ALICE).answered:
            await asyncio.sleep(0)
        drained = asyncio.ensure_future(pods.fake.links.drain(ALICE, 10.0))
        assert json.loads(await reader.readline())["down"] == "drain"
        writer.write(b'{"up":"state","state":"drained"}\n')
        assert await drained
        writer.close()
        await writer.wait_closed()
        while pods.fake.links.view(ALICE).connected:
            await asyncio.sleep(0)


async def test_a_hand_out_is_noted_with_the_launch_that_took_it(pods: Hive) -> None:
    async def launches() -> list[str | None]:
        return await pods.fake.database.read(
            lambda connection: [row[0] for row in connection.execute("SELECT incarnation FROM messages ORDER BY id")]
        )

    for _ in range(2):
        await pods.fake.broker.send("manager", ALICE, "hello")
    await pods.ask(ALICE, '{"cmd":"recv","wait_seconds":0}')
    reader, writer = await link(pods, {"up": "hello", "generation": "g", "nonce": "launch-7"})
    async with asyncio.timeout(10):
        await reader.readline()
    await pods.ask(ALICE, '{"cmd":"recv","wait_seconds":0}')
    assert await launches() == [None, "launch-7"]
    writer.close()
    await writer.wait_closed()


async def test_a_harness_that_does_not_begin_with_hello_is_cut_off(pods: Hive) -> None:
    reader, writer = await link(pods, {"up": "state", "state": "idle"})
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_peer_that_never_says_hello_is_cut_off(pods: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.lines.link.HELLO_SECONDS", 0.05)
    reader, writer = await link(pods)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
        while pods.fake.links.view(ALICE).connected:
            await asyncio.sleep(0)
    writer.close()


async def test_a_stray_connection_does_not_take_the_link_from_the_harness(pods: Hive) -> None:
    hello: Json = {"up": "hello", "generation": "g", "nonce": "n"}
    reader, writer = await link(pods, hello)
    async with asyncio.timeout(10):
        await reader.readline()
        _, stray = await link(pods)
        stray.close()
        await stray.wait_closed()
        second, twin = await link(pods, hello)
        assert json.loads(await second.readline())["down"] == "probe"
        closed = json.loads(await reader.readline())
        assert (closed["down"], closed["reason"]) == (
            "closed",
            "another process of this agent said hello, and has the link now",
        )
        assert await reader.read() == b""
        view = pods.fake.links.view(ALICE)
        assert (view.connected, view.losses) == (True, 0)
    for each in (writer, twin):
        each.close()


async def test_closing_the_sockets_ends_the_links(pods: Hive) -> None:
    reader, writer = await link(pods, {"up": "hello", "generation": "g", "nonce": "n"})
    async with asyncio.timeout(10):
        await reader.readline()
        await pods.sockets.close(ALICE)
        assert await reader.read() == b""
    assert not pods.fake.links.view(ALICE).connected
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "line",
    [
        b'{"up":"x\\nINFO reconciler.loop: forged\\u001b[2J"}',
        json.dumps({"up": "hello", "generation": "g\nERROR forged \x1b[31m", "nonce": "n"}).encode(),
        json.dumps({"up": "hello", "generation": "g", "nonce": "n" * 65}).encode(),
        b"x" * 5000,
    ],
    ids=["kind", "generation", "long nonce", "long line"],
)
async def test_a_harness_cannot_forge_or_flood_the_log(
    pods: Hive, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(pods.layout.harness_socket(ALICE)))
    writer.write(line + b"\n" + line + b"\n" + b'{"up":"hello","generation":"g","nonce":"n"}\n')
    async with asyncio.timeout(10):
        assert json.loads(await reader.readline())["down"] == "probe"
        writer.close()
        await writer.wait_closed()
    (message,) = [record.getMessage() for record in caplog.records if record.name == "api.lines.link"]
    assert message.startswith("alice: a line on harness.sock was not understood: ")
    assert message.isprintable()
    assert len(message) < 300
