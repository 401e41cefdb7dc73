"""mcp.sock and harness.sock of agents and of the manager."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from api.daemon.agent_sockets import AgentSockets, admission
from api.lines import dispatch
from api.operations.base import Call, Surface
from api.sockets.principals import principal_of
from meta.errors import TransientError
from meta.names import MANAGER, AgentName
from meta.wire.agent import AGENT_RESPONSE, EmptyResponse, MessageResponse, Recv
from meta.wire.codec import decode
from meta.wire.common import Wire
from meta.wire.link import Closed, Drain, Probe, Resume
from meta.wire.manager import MANAGER_RESPONSE

if TYPE_CHECKING:
    from tests.api.conftest import Hive

ALICE = AgentName("alice")
Json = dict[str, object]


async def ask(pods: Hive, agent: AgentName, *requests: str) -> list[Json]:
    answers = await pods.lines(pods.layout.mcp_socket(agent), *(line.encode() + b"\n" for line in requests))
    for answer in answers:
        if agent == MANAGER:
            decode(MANAGER_RESPONSE, answer)
        else:
            decode(AGENT_RESPONSE, answer)
    return [json.loads(answer) for answer in answers]


async def test_an_agent_learns_who_it_is_from_its_socket_alone(pods: Hive) -> None:
    (alice,) = await ask(pods, ALICE, '{"cmd":"whoami","name":"manager","from":"operator"}')
    (manager,) = await ask(pods, MANAGER, '{"cmd":"whoami"}')
    assert alice == {"kind": "whoami", "name": "alice", "role": "agent", "hyperhive_rev": "rev1"}
    assert manager == {"kind": "whoami", "name": "manager", "role": "manager", "hyperhive_rev": "rev1"}


async def test_a_message_goes_from_one_agent_to_another_and_is_acknowledged(pods: Hive) -> None:
    sent = await ask(pods, MANAGER, '{"cmd":"send","to":"alice","body":"hello","from":"operator"}')
    assert sent == [{"kind": "ok"}]
    answers = await ask(
        pods,
        ALICE,
        '{"cmd":"status"}',
        '{"cmd":"recv"}',
        '{"cmd":"status"}',
        '{"cmd":"ack_turn"}',
        '{"cmd":"requeue_inflight"}',
        '{"cmd":"recv","wait_seconds":0}',
        '{"cmd":"recent","limit":18446744073709551615}',
    )
    assert answers[0] == {"kind": "status", "unread": 1}
    assert answers[1] == {"kind": "message", "from": "manager", "body": "hello", "id": 1, "redelivered": False}
    assert answers[2] == {"kind": "status", "unread": 0}
    assert answers[3:6] == [{"kind": "ok"}, {"kind": "ok"}, {"kind": "empty"}]
    rows = answers[6]["rows"]
    assert isinstance(rows, list)
    assert [(row["from"], row["body"]) for row in rows] == [("manager", "hello")]


async def test_a_message_that_was_not_acknowledged_comes_again_and_says_so(pods: Hive) -> None:
    await ask(pods, MANAGER, '{"cmd":"send","to":"alice","body":"once more"}')
    await ask(pods, ALICE, '{"cmd":"recv"}')
    _, again = await ask(pods, ALICE, '{"cmd":"requeue_inflight"}', '{"cmd":"recv"}')
    assert again["redelivered"] is True


async def test_an_operator_msg_over_an_agents_own_socket_is_not_from_the_operator_for_certain(pods: Hive) -> None:
    _, message = await ask(pods, ALICE, '{"cmd":"operator_msg","body":"hi"}', '{"cmd":"recv"}')
    assert message["from"] == "operator:unverified"


async def test_a_message_that_arrives_during_the_long_poll_ends_it(pods: Hive) -> None:
    waiting = asyncio.ensure_future(ask(pods, ALICE, '{"cmd":"recv","wait_seconds":60}'))
    await ask(pods, MANAGER, '{"cmd":"send","to":"alice","body":"now"}')
    (message,) = await waiting
    assert message["body"] == "now"


async def test_a_receiver_that_dies_in_the_long_poll_takes_no_message_with_it(pods: Hive) -> None:
    _reader, writer = await asyncio.open_unix_connection(str(pods.layout.mcp_socket(ALICE)))
    writer.write(b'{"cmd":"recv","wait_seconds":60}\n{"cmd":"whoami"}')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await ask(pods, MANAGER, '{"cmd":"send","to":"alice","body":"for the living"}')
    (message,) = await ask(pods, ALICE, '{"cmd":"recv"}')
    assert message["body"] == "for the living"


async def received(pods: Hive, seconds: int | None = None) -> Wire:
    """What alice's `recv` answers."""
    return await dispatch.answer(Call(pods.service, principal_of(ALICE)), Surface.AGENT, Recv(wait_seconds=seconds))


async def test_recv_is_empty_at_once_while_the_agent_is_drained(pods: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask(pods, MANAGER, '{"cmd":"send","to":"alice","body":"later"}')
    monkeypatch.setattr(pods.fake.links, "draining", lambda agent: True)
    assert await received(pods) == EmptyResponse()
    monkeypatch.setattr(pods.fake.links, "draining", lambda agent: False)
    assert isinstance(await received(pods), MessageResponse)


class MutePeer:
    """A harness that is connected and answers nothing."""

    async def send(self, line: Drain | Resume | Probe | Closed) -> None:
        return None


async def test_a_drain_ends_a_recv_that_waits(pods: Hive) -> None:
    links = pods.fake.links
    links.connected(ALICE, MutePeer())
    waiting = asyncio.ensure_future(received(pods, 60))
    await pods.fake.broker.unread(ALICE)
    assert not await links.drain(ALICE, 0.05)
    async with asyncio.timeout(10):
        assert await waiting == EmptyResponse()


async def test_recv_and_status_prove_life_for_a_peer_without_a_link(pods: Hive) -> None:
    assert pods.fake.links.view(ALICE).legacy_at is None
    await ask(pods, ALICE, '{"cmd":"status"}')
    assert pods.fake.links.view(ALICE).legacy_at is not None


async def test_a_question_goes_from_one_agent_to_another_and_its_answer_back(pods: Hive) -> None:
    (queued,) = await ask(pods, ALICE, '{"cmd":"ask","question":"blue?","options":["yes","no"],"to":"manager"}')
    assert queued == {"kind": "question_queued", "id": 1}
    (asked, ends) = await ask(pods, MANAGER, '{"cmd":"recv"}', '{"cmd":"get_loose_ends"}')
    assert asked["from"] == "system"
    assert json.loads(str(asked["body"]))["event"] == "question_asked"
    assert [end["question"] for end in cast("list[Json]", ends["loose_ends"])] == ["blue?"]
    assert await ask(pods, MANAGER, '{"cmd":"answer","id":1,"answer":"yes"}') == [{"kind": "ok"}]
    (answered,) = await ask(pods, ALICE, '{"cmd":"recv"}')
    assert json.loads(str(answered["body"])) == {
        "event": "question_answered", "id": 1, "question": "blue?", "answer": "yes", "answerer": "manager"
    }  # fmt: skip


async def test_a_reminder_is_counted_listed_and_cancelled(pods: Hive) -> None:
    answers = await ask(
        pods,
        ALICE,
        '{"cmd":"remind","message":"look","timing":{"timing_type":"in_seconds","seconds":60}}',
        '{"cmd":"count_pending_reminders"}',
        '{"cmd":"get_loose_ends"}',
        '{"cmd":"cancel_loose_end","kind":"reminder","id":1}',
        '{"cmd":"get_loose_ends"}',
    )
    assert answers[:2] == [{"kind": "ok"}, {"kind": "pending_reminders_count", "count": 1}]
    (end,) = cast("list[Json]", answers[2]["loose_ends"])
    assert (end["kind"], end["owner"], end["message"]) == ("reminder", "alice", "look")
    assert answers[3:] == [{"kind": "ok"}, {"kind": "loose_ends", "loose_ends": []}]


async def test_an_agent_does_not_see_or_cancel_what_is_anothers(pods: Hive) -> None:
    await ask(pods, MANAGER, '{"cmd":"ask","question":"secret?"}')
    ends, refused = await ask(
        pods, ALICE, '{"cmd":"get_loose_ends"}', '{"cmd":"cancel_loose_end","kind":"question","id":1}'
    )
    assert ends["loose_ends"] == []
    assert refused["kind"] == "err"


async def test_what_wakes_an_agent_says_from_inside_who_it_is(pods: Hive) -> None:
    woken, reserved, message = await ask(
        pods,
        ALICE,
        '{"cmd":"wake","from":"matrix","body":"x"}',
        '{"cmd":"wake","from":"operator","body":"x"}',
        '{"cmd":"recv"}',
    )
    assert (woken["kind"], reserved["kind"]) == ("ok", "err")
    assert (message["from"], message["body"]) == ("wake:matrix", "x")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ('{"cmd":"send","to":"nobody","body":"x"}', "nobody"),
        ('{"cmd":"kill","name":"manager"}', "unknown cmd 'kill'"),
        ('{"cmd":"request_apply_commit","agent":"alice","commit_ref":"x"}', "unknown cmd"),
    ],
)
async def test_what_an_agent_may_not_do_is_an_err_and_the_connection_lives_on(
    pods: Hive, line: str, words: str
) -> None:
    bad, good = await ask(pods, ALICE, line, '{"cmd":"whoami"}')
    assert bad["kind"] == "err"
    assert words in str(bad["message"])
    assert good["kind"] == "whoami"


async def test_the_manager_has_its_own_requests(pods: Hive) -> None:
    answers = await ask(
        pods,
        MANAGER,
        '{"cmd":"request_spawn","name":"bob","description":"a reviewer"}',
        '{"cmd":"request_apply_commit","agent":"alice","commit_ref":"1111111","description":"adds jq"}',
        '{"cmd":"kill","name":"alice"}',
        '{"cmd":"start","name":"alice"}',
        '{"cmd":"restart","name":"alice"}',
        '{"cmd":"update","name":"alice"}',
        '{"cmd":"get_logs","agent":"alice"}',
    )
    assert answers[:6] == [{"kind": "ok"}] * 6
    assert answers[6] == {"kind": "logs", "content": "50 lines of alice\n"}
    assert pods.fake.calls == [
        ("request_spawn", "bob", "manager", "a reviewer"),
        ("propose", "alice", "manager", "1111111", "adds jq", None),
        ("stop", "alice", "manager", False),
        ("start", "alice", "manager"),
        ("restart", "alice", "manager", False),
        ("rebuild", "alice", "manager", False),
    ]


async def test_the_manager_may_restart_itself_but_not_stop_itself(pods: Hive) -> None:
    answers = await ask(
        pods,
        MANAGER,
        '{"cmd":"restart","name":"manager"}',
        '{"cmd":"update","name":"manager"}',
        '{"cmd":"kill","name":"manager"}',
        '{"cmd":"get_logs","agent":"manager"}',
        '{"cmd":"wake","from":"x","body":"y"}',
        '{"cmd":"kill","name":"nobody"}',
    )
    assert [answer["kind"] for answer in answers] == ["ok", "ok", "err", "err", "err", "err"]
    assert answers[2]["message"] == "the manager may not stop itself (ask the operator)"
    assert [call[0] for call in pods.fake.calls] == ["restart", "rebuild"]


async def test_no_agent_socket_approves(pods: Hive) -> None:
    pods.fake.add()
    for agent in (ALICE, MANAGER):
        (answer,) = await ask(pods, agent, '{"cmd":"approve","id":1}')
        assert answer["kind"] == "err"
    assert pods.fake.calls == []


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
    (answer,) = await ask(pods, ALICE, '{"cmd":"whoami"}')
    assert answer["name"] == "alice"


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
    await ask(pods, ALICE, '{"cmd":"recv","wait_seconds":0}')
    reader, writer = await link(pods, {"up": "hello", "generation": "g", "nonce": "launch-7"})
    async with asyncio.timeout(10):
        await reader.readline()
    await ask(pods, ALICE, '{"cmd":"recv","wait_seconds":0}')
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
