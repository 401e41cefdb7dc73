"""The link on an agent's `harness.sock`: hello, states, and peers that misbehave."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from api.lines.link import DEPTH
from meta.names import AgentName
from meta.wire.link import Verb

if TYPE_CHECKING:
    from tests.api.conftest import Hive
ALICE = AgentName("alice")
Json = dict[str, object]


async def link(pods: Hive, *lines: Json) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(pods.layout.harness_socket(ALICE)))
    for line in lines:
        writer.write(json.dumps(line).encode() + b"\n")
    return reader, writer


async def greeting(reader: asyncio.StreamReader) -> Json:
    """The probe that follows the hold; both are the answer to a hello."""
    assert json.loads(await reader.readline())["down"] == "hold"
    probe: Json = json.loads(await reader.readline())
    assert probe["down"] == "probe"
    return probe


async def test_a_harness_that_says_hello_is_connected_and_is_probed(pods: Hive) -> None:
    reader, writer = await link(pods, {"up": "hello", "generation": "g", "nonce": "n", "later": "field"})
    async with asyncio.timeout(10):
        probe = await greeting(reader)
        view = pods.fake.links.view(ALICE)
        assert (view.connected, view.generation, view.nonce, view.answered) == (True, "g", "n", False)
        writer.write(b"nonsense\n")
        writer.write(json.dumps({"up": "state", "state": "idle", "probe": probe["probe"]}).encode() + b"\n")
        while not pods.fake.links.view(ALICE).answered:
            await asyncio.sleep(0)
        drained = asyncio.ensure_future(pods.fake.drains.drain(ALICE, 10.0))
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


async def test_a_harness_that_releases_its_turn_gets_the_message_again_and_nothing_is_counted(pods: Hive) -> None:
    reader, writer = await link(pods, {"up": "hello", "generation": "g", "nonce": "n1", "turn": 0})
    async with asyncio.timeout(10):
        await greeting(reader)
        await pods.fake.broker.send("manager", ALICE, "during an outage")
        for number in range(1, 6):
            (message,) = await pods.ask(ALICE, '{"cmd":"recv","wait_seconds":0}')
            assert (message["body"], message["redelivered"]) == ("during an outage", number > 1)
            only = [message["id"]] if number % 2 else None
            release = {"up": "release", "turn": number, "only": only}
            for line in ({"up": "state", "state": "thinking", "turn": number}, release):
                writer.write(json.dumps(line).encode() + b"\n")
            assert json.loads(await reader.readline()) == {"down": "released", "turn": number, "only": only}
    assert await pods.fake.broker.dead_letters() == []
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
        await greeting(reader)
        _, stray = await link(pods)
        stray.close()
        await stray.wait_closed()
        second, twin = await link(pods, hello)
        await greeting(second)
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
        await greeting(reader)
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
        await greeting(reader)
        writer.close()
        await writer.wait_closed()
    (message,) = [record.getMessage() for record in caplog.records if record.name == "api.lines.link"]
    assert message.startswith("alice: a line on harness.sock was not understood: ")
    assert message.isprintable()
    assert len(message) < 300


def nested(levels: int) -> str:
    """An event with as many objects and lists, one in another."""
    return '{"kind":"note","text":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize(
    ("levels", "spaces"),
    [(DEPTH, ""), (DEPTH, " "), (DEPTH + 1, ""), (DEPTH + 1, " "), (900, "")],  # a space: not as the harness writes it
)
async def test_an_event_that_is_nested_too_deeply_becomes_a_note(pods: Hive, levels: int, spaces: str) -> None:
    hello: Json = {"up": "hello", "generation": "g", "nonce": "n", "log": "l", "last": 9}
    _, writer = await link(pods, hello)
    writer.write(f'{{"up":{spaces}"event","id":1,"ts":1,"event":{nested(levels)}}}\n'.encode())
    async with asyncio.timeout(10):
        while not (rows := await pods.fake.live.newest(ALICE, 9)):
            await asyncio.sleep(0)
    assert (rows[0].text == nested(levels)) is (levels == DEPTH)
    assert ("nested more than 100 deep" in rows[0].text) is (levels > DEPTH)
    writer.close()


async def test_what_a_harness_says_about_itself_is_kept_and_a_control_gets_its_answer(pods: Hive) -> None:
    reader, writer = await link(
        pods,
        {"up": "hello", "generation": "g", "nonce": "n"},
        {"up": "about", "runtime": "claude", "program": "2.1.329", "model": "haiku", "override": "haiku"},
        {"up": "state", "state": "parked", "since": 1.0, "until": 2e9, "reason": "the limit of today"},
    )
    async with asyncio.timeout(10):
        await greeting(reader)
        while pods.fake.links.view(ALICE).turn != "parked":
            await asyncio.sleep(0)
        asking = asyncio.ensure_future(pods.fake.links.control(ALICE, Verb.MODEL, "opus", 10.0))
        control = json.loads(await reader.readline())
        assert (control["down"], control["verb"], control["text"]) == ("control", "model", "opus")
        writer.write(json.dumps({"up": "done", "id": control["id"], "ok": True, "text": "opus"}).encode() + b"\n")
        assert (await asking).text == "opus"
    view = pods.fake.links.view(ALICE)
    assert view.about is not None
    assert (view.about.runtime, view.about.override) == ("claude", "haiku")
    assert (view.state_since, view.until, view.reason) == (1.0, 2e9, "the limit of today")
    writer.close()
    await writer.wait_closed()


async def test_a_paused_agent_gets_no_message_even_if_its_harness_does_not_know_holds(pods: Hive) -> None:
    await pods.fake.broker.send("manager", ALICE, "hello")
    pods.fake.holds.set_over_budget(ALICE, None, "used up")
    assert await pods.ask(ALICE, '{"cmd":"recv","wait_seconds":0}') == [{"kind": "empty"}]
    assert await pods.ask(ALICE, '{"cmd":"status"}') == [{"kind": "status", "unread": 1}]
    pods.fake.holds.clear_over_budget(ALICE)
    (message,) = await pods.ask(ALICE, '{"cmd":"recv","wait_seconds":0}')
    assert message["body"] == "hello"


async def test_a_pod_that_is_asked_to_end_is_stopped_and_its_pods_are_known(pods: Hive) -> None:
    tree: Json = {"up": "pods", "pods": [{"name": "alice", "state": "running"}]}
    _, writer = await link(pods, {"up": "hello", "generation": "g", "nonce": "n"}, tree, {"up": "shutdown"})
    async with asyncio.timeout(10):
        await pods.fake.asked.wait()
    assert pods.fake.calls == [("stop", ALICE, "pod.sock of alice", False)]
    assert [pod.name for pod in pods.fake.links.view(ALICE).pods] == ["alice"]
    writer.close()
    await writer.wait_closed()
