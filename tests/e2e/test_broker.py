"""The broker in a whole daemon: who may write to whom, and what waits for whom."""

from __future__ import annotations

import socket

import pytest

from meta.names import AgentName
from reconciler.common.token_bucket import EVENTS_AT_ONCE
from tests.support.lab import Lab

pytestmark = pytest.mark.lab(agents=("alice", "bob"), backend="fake")


def test_the_list_is_that_of_the_deployed_commit(lab: Lab) -> None:
    assert lab.ask("alice", cmd="send", to="bob", body="hello") == {"kind": "ok"}
    lab.propose('recipients = ["operator"]\n')
    assert lab.ask("alice", cmd="send", to="bob", body="still deployed as before") == {"kind": "ok"}
    assert lab.deploy('recipients = ["operator"]\n')["status"] == "approved"
    for to in ("bob", "*"):
        refused = lab.ask("alice", cmd="send", to=to, body="no")
        assert refused["kind"] == "err"
        assert "alice may not write to bob (`recipients` of its agent.toml" in refused["message"]
    for to in ("operator", "manager"):
        assert lab.ask("alice", cmd="send", to=to, body="yes") == {"kind": "ok"}
    assert lab.ask("bob", cmd="send", to="alice", body="others are free") == {"kind": "ok"}
    lab.kill()
    lab.start()
    lab.settle("alice")
    assert lab.ask("alice", cmd="send", to="bob", body="no")["kind"] == "err"


def test_a_message_to_a_stopped_agent_waits_and_is_shown(lab: Lab) -> None:
    lab.do("bob", "stop")
    before = lab.agent("bob")["unread"]
    assert lab.ask("manager", cmd="send", to="bob", body="for later") == {"kind": "ok"}
    assert lab.agent("bob")["unread"] == before + 1
    assert "for later" in lab.inbox("bob")


def test_a_broadcast_goes_to_every_agent_of_the_hive(lab: Lab) -> None:
    assert lab.ask("bob", cmd="send", to="*", body="all hands") == {"kind": "ok"}
    bodies = [lab.ask(agent, cmd="recent", limit=1)["rows"][0]["body"] for agent in ("alice", "manager")]
    assert bodies == ["[broadcast] all hands"] * 2


def test_what_a_harness_with_a_link_was_handed_and_did_not_ack_waits_again_all_of_it(lab: Lab) -> None:
    lab.spawn("linked")
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(str(lab.layout.harness_socket(AgentName("linked"))))
        link.sendall(b'{"up": "hello", "generation": "x", "nonce": "y", "state": "idle"}\n')
        assert b"hold" in link.recv(1000)
        with lab.lines(lab.layout.mcp_socket(AgentName("manager"))) as manager:
            for number in range(120):
                assert manager({"cmd": "send", "to": "linked", "body": str(number)}) == {"kind": "ok"}
        with lab.lines(lab.layout.mcp_socket(AgentName("linked"))) as line:
            for _ in range(120):
                assert line({"cmd": "recv", "wait_seconds": 0})["kind"] == "message"
            assert line({"cmd": "requeue_inflight"}) == {"kind": "ok"}
            assert line({"cmd": "status"})["unread"] == 120


def test_a_manager_that_stops_and_starts_without_a_pause_is_held_back(lab: Lab) -> None:
    with lab.lines(lab.layout.mcp_socket(AgentName("manager"))) as manager:
        answers = [manager({"cmd": "start", "name": "alice"}) for _ in range(EVENTS_AT_ONCE // 2 + 10)]
    assert answers[0] == {"kind": "ok"}
    assert "manager makes events too fast" in answers[-1]["message"]
    assert lab.hive("start", "alice").code == 0


def test_a_destroyed_agent_has_no_inbox_to_send_to(lab: Lab) -> None:
    lab.spawn("carol")
    lab.do("carol", "destroy")
    assert "there is no agent 'carol'" in lab.ask("manager", cmd="send", to="carol", body="?")["message"]
    assert lab.inbox("carol") == []
