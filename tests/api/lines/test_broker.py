"""The broker's contract where it needs real sockets: older peers, and answers on their way."""

from __future__ import annotations

import asyncio
import json
import select
from typing import TYPE_CHECKING

from meta.names import MANAGER, AgentName
from reconciler.messaging.broker import Broker, Quota
from reconciler.store.database import Database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Hive

ALICE = AgentName("alice")
Json = dict[str, object]


class Peer:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, path: Path) -> Peer:
        return cls(*await asyncio.open_unix_connection(str(path), limit=2**22))

    async def ask(self, line: str) -> Json:
        self.writer.write(line.encode() + b"\n")
        async with asyncio.timeout(20):
            return dict(json.loads(await self.reader.readline()))

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def ask(pods: Hive, agent: AgentName, line: str) -> Json:
    """One request on a connection of its own, as the first peers did it."""
    peer = await Peer.connect(pods.layout.mcp_socket(agent))
    answer = await peer.ask(line)
    await peer.close()
    return answer


async def test_a_peer_that_only_knows_a_bare_recv_gets_everything_once_over_the_socket(
    pods: Hive, tmp_path: Path
) -> None:
    async with await Database.open(tmp_path / "small.db") as database:
        broker = Broker(database, lambda name: name == ALICE, quota=Quota(5, 20 * 1024))
        pods.fake.broker = broker
        got = []
        for number in range(150):
            body = json.dumps({"cmd": "send", "to": "alice", "body": str(number)})
            assert await ask(pods, MANAGER, body) == {"kind": "ok"}
            if number % 5 == 4:
                assert await ask(pods, ALICE, '{"cmd":"status"}') == {"kind": "status", "unread": 5}
                got += [await ask(pods, ALICE, '{"cmd":"recv"}') for _ in range(5)]
        assert [(each["from"], each["body"]) for each in got] == [("manager", str(number)) for number in range(150)]
        assert pods.fake.links.view(ALICE).legacy_at is not None
        await broker.close()


async def test_a_message_on_its_way_over_a_socket_is_not_acked_unseen(pods: Hive) -> None:
    body = "x" * 2**20
    await pods.fake.broker.send("manager", "alice", body)
    slow, quick = [await Peer.connect(pods.layout.mcp_socket(ALICE)) for _ in range(2)]
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it takes no more than the kernel does
    slow.writer.write(b'{"cmd":"recv"}\n')
    while await pods.fake.broker.unread(ALICE):
        await quick.ask('{"cmd":"whoami"}')
    assert await quick.ask('{"cmd":"ack_turn"}') == {"kind": "ok"}
    slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        assert json.loads(await slow.reader.readline())["body"] == body
    assert await quick.ask('{"cmd":"requeue_inflight"}') == {"kind": "ok"}
    again = await quick.ask('{"cmd":"recv","wait_seconds":0}')
    assert (again["kind"], again.get("redelivered")) == ("message", True)
    assert await quick.ask('{"cmd":"ack_turn"}') == {"kind": "ok"}
    assert await quick.ask('{"cmd":"requeue_inflight"}') == {"kind": "ok"}
    assert await quick.ask('{"cmd":"recv","wait_seconds":0}') == {"kind": "empty"}
    for peer in (slow, quick):
        await peer.close()


async def test_a_peer_that_leaves_before_the_whole_answer_was_written_gives_the_message_back(pods: Hive) -> None:
    await pods.fake.broker.send("manager", "alice", "x" * 2**20)
    leaving = await Peer.connect(pods.layout.mcp_socket(ALICE))
    leaving.writer.transport.pause_reading()  # type: ignore[attr-defined]
    leaving.writer.write(b'{"cmd":"recv"}\n')
    while not select.select([leaving.writer.get_extra_info("socket")], [], [], 0)[0]:  # part of it is with the peer
        await ask(pods, ALICE, '{"cmd":"whoami"}')
    leaving.writer.transport.abort()
    again = await ask(pods, ALICE, '{"cmd":"recv","wait_seconds":20}')
    assert (again["kind"], again.get("redelivered")) == ("message", True)


async def test_a_wake_comes_from_what_is_in_the_container_and_says_so(pods: Hive) -> None:
    assert await ask(pods, ALICE, '{"cmd":"wake","from":"matrix","body":"ping"}') == {"kind": "ok"}
    got = await ask(pods, ALICE, '{"cmd":"recv"}')
    assert (got["from"], got["body"]) == ("wake:matrix", "ping")
    refused = await ask(pods, ALICE, '{"cmd":"wake","from":"operator","body":"ping"}')
    assert (refused["kind"], "reserved" in str(refused["message"])) == ("err", True)
