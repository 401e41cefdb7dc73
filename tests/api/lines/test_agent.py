"""Requests on an agent's `mcp.sock`, as a harness makes them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, cast

import pytest

from api.lines import dispatch
from api.operations.base import Call, Surface
from api.sockets.principals import principal_of
from meta.names import MANAGER, AgentName
from meta.wire.agent import EmptyResponse, MessageResponse, Recv
from meta.wire.common import Wire
from meta.wire.link import DownLine

if TYPE_CHECKING:
    from tests.api.conftest import Hive
ALICE = AgentName("alice")
Json = dict[str, object]


async def test_an_agent_learns_who_it_is_from_its_socket_alone(pods: Hive) -> None:
    (alice,) = await pods.ask(ALICE, '{"cmd":"whoami","name":"manager","from":"operator"}')
    (manager,) = await pods.ask(MANAGER, '{"cmd":"whoami"}')
    assert alice == {"kind": "whoami", "name": "alice", "role": "agent", "hyperhive_rev": "rev1"}
    assert manager == {"kind": "whoami", "name": "manager", "role": "manager", "hyperhive_rev": "rev1"}


async def test_a_message_goes_from_one_agent_to_another_and_is_acknowledged(pods: Hive) -> None:
    sent = await pods.ask(MANAGER, '{"cmd":"send","to":"alice","body":"hello","from":"operator"}')
    assert sent == [{"kind": "ok"}]
    answers = await pods.ask(
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
    await pods.ask(MANAGER, '{"cmd":"send","to":"alice","body":"once more"}')
    await pods.ask(ALICE, '{"cmd":"recv"}')
    _, again = await pods.ask(ALICE, '{"cmd":"requeue_inflight"}', '{"cmd":"recv"}')
    assert again["redelivered"] is True


async def test_an_operator_msg_over_an_agents_own_socket_is_not_from_the_operator_for_certain(pods: Hive) -> None:
    _, message = await pods.ask(ALICE, '{"cmd":"operator_msg","body":"hi"}', '{"cmd":"recv"}')
    assert message["from"] == "operator:unverified"


async def test_a_message_that_arrives_during_the_long_poll_ends_it(pods: Hive) -> None:
    waiting = asyncio.ensure_future(pods.ask(ALICE, '{"cmd":"recv","wait_seconds":60}'))
    await pods.ask(MANAGER, '{"cmd":"send","to":"alice","body":"now"}')
    (message,) = await waiting
    assert message["body"] == "now"


async def test_a_receiver_that_dies_in_the_long_poll_takes_no_message_with_it(pods: Hive) -> None:
    _reader, writer = await asyncio.open_unix_connection(str(pods.layout.mcp_socket(ALICE)))
    writer.write(b'{"cmd":"recv","wait_seconds":60}\n{"cmd":"whoami"}')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await pods.ask(MANAGER, '{"cmd":"send","to":"alice","body":"for the living"}')
    (message,) = await pods.ask(ALICE, '{"cmd":"recv"}')
    assert message["body"] == "for the living"


async def received(pods: Hive, seconds: int | None = None) -> Wire:
    """What alice's `recv` answers."""
    request = Recv(wait_seconds=seconds)
    bound = dispatch.operation_for(Surface.AGENT, request)
    return await dispatch.answer(Call(pods.service, principal_of(ALICE)), bound, request)


async def test_recv_is_empty_at_once_while_the_agent_is_drained(pods: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    await pods.ask(MANAGER, '{"cmd":"send","to":"alice","body":"later"}')
    monkeypatch.setattr(pods.fake.links, "draining", lambda agent: True)
    assert await received(pods) == EmptyResponse()
    monkeypatch.setattr(pods.fake.links, "draining", lambda agent: False)
    assert isinstance(await received(pods), MessageResponse)


class MutePeer:
    """A harness that is connected and answers nothing."""

    async def send(self, line: DownLine) -> None:
        return None


async def test_a_drain_ends_a_recv_that_waits(pods: Hive) -> None:
    links = pods.fake.links
    links.connected(ALICE, MutePeer())
    waiting = asyncio.ensure_future(received(pods, 60))
    await pods.fake.broker.unread(ALICE)
    assert not await pods.fake.drains.drain(ALICE, 0.05)
    async with asyncio.timeout(10):
        assert await waiting == EmptyResponse()


async def test_recv_and_status_prove_life_for_a_peer_without_a_link(pods: Hive) -> None:
    assert pods.fake.links.view(ALICE).legacy_at is None
    await pods.ask(ALICE, '{"cmd":"status"}')
    assert pods.fake.links.view(ALICE).legacy_at is not None


async def test_a_question_goes_from_one_agent_to_another_and_its_answer_back(pods: Hive) -> None:
    (queued,) = await pods.ask(ALICE, '{"cmd":"ask","question":"blue?","options":["yes","no"],"to":"manager"}')
    assert queued == {"kind": "question_queued", "id": 1}
    (asked, ends) = await pods.ask(MANAGER, '{"cmd":"recv"}', '{"cmd":"get_loose_ends"}')
    assert asked["from"] == "system"
    assert json.loads(str(asked["body"]))["event"] == "question_asked"
    assert [end["question"] for end in cast("list[Json]", ends["loose_ends"])] == ["blue?"]
    assert await pods.ask(MANAGER, '{"cmd":"answer","id":1,"answer":"yes"}') == [{"kind": "ok"}]
    (answered,) = await pods.ask(ALICE, '{"cmd":"recv"}')
    assert json.loads(str(answered["body"])) == {
        "event": "question_answered", "id": 1, "question": "blue?", "answer": "yes", "answerer": "manager"
    }  # fmt: skip


async def test_a_reminder_is_counted_listed_and_cancelled(pods: Hive) -> None:
    answers = await pods.ask(
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
    await pods.ask(MANAGER, '{"cmd":"ask","question":"secret?"}')
    ends, refused = await pods.ask(
        ALICE, '{"cmd":"get_loose_ends"}', '{"cmd":"cancel_loose_end","kind":"question","id":1}'
    )
    assert ends["loose_ends"] == []
    assert refused["kind"] == "err"


async def test_what_wakes_an_agent_says_from_inside_who_it_is(pods: Hive) -> None:
    woken, reserved, message = await pods.ask(
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
    bad, good = await pods.ask(ALICE, line, '{"cmd":"whoami"}')
    assert bad["kind"] == "err"
    assert words in str(bad["message"])
    assert good["kind"] == "whoami"


async def test_the_manager_has_its_own_requests(pods: Hive) -> None:
    answers = await pods.ask(
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
    answers = await pods.ask(
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
        (answer,) = await pods.ask(agent, '{"cmd":"approve","id":1}')
        assert answer["kind"] == "err"
    assert pods.fake.calls == []
