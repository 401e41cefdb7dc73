"""Messages with the real harness: they arrive, survive a kill -9, and are how the manager asks for a deploy."""

from __future__ import annotations

import pytest

from tests.support.lab import Lab


def recv(lab: Lab, agent: str, seconds: int = 20) -> dict[str, object]:
    return lab.ask(agent, cmd="recv", wait_seconds=seconds)


def stop_bob(lab: Lab) -> None:
    """Stop bob: his end of the wire is the test itself."""
    lab.do("bob", "stop")


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(agents=("alice", "bob"), settings={"HIVE_HEALTH_DEADLINE": "10"}, tiny=False, prepare=stop_bob),
]


def test_the_operators_message_reaches_the_agent_and_is_answered(lab: Lab) -> None:
    said = lab.hive("send", "alice", "good morning")
    assert (said.code, "waits in the inbox of alice" in said.out) == (0, True)
    lab.until(lambda: "heard: good morning" in lab.inbox("operator"))
    assert lab.agent()["unread"] == 0


def test_one_agent_writes_to_another_and_gets_its_reply_from_that_name(lab: Lab) -> None:
    assert lab.ask("bob", cmd="send", to="alice", body="ping") == {"kind": "ok"}
    answer = recv(lab, "bob")
    assert (answer["kind"], answer["from"], answer["body"]) == ("message", "alice", "pong")
    assert lab.ask("bob", cmd="ack_turn") == {"kind": "ok"}
    assert lab.ask("bob", cmd="status") == {"kind": "status", "unread": 0}
    assert "there is no agent 'nobody'" in lab.ask("bob", cmd="send", to="nobody", body="?")["message"]


def test_a_kill_of_the_daemon_between_send_and_recv_and_between_recv_and_ack_loses_nothing(lab: Lab) -> None:
    for body in ("first", "second"):
        assert lab.ask("bob", cmd="send", to="bob", body=body) == {"kind": "ok"}
    lab.kill()
    lab.start()
    lab.settle("bob")
    taken = recv(lab, "bob")
    assert (taken["body"], taken["redelivered"]) == ("first", False)
    lab.kill()
    lab.start()
    lab.settle("bob")
    assert lab.ask("bob", cmd="requeue_inflight") == {"kind": "ok"}
    again = [recv(lab, "bob") for _ in range(2)]
    assert [(each["body"], each["id"] == taken["id"]) for each in again] == [("first", True), ("second", False)]
    assert again[0]["redelivered"]
    lab.ask("bob", cmd="ack_turn")
    assert recv(lab, "bob", 0)["kind"] == "empty"


def test_a_harness_answers_what_was_sent_while_the_daemon_was_killed_after_it(lab: Lab) -> None:
    lab.post("/api/messages", to="alice", body="still there?")
    lab.kill()
    lab.start()
    lab.until(lambda: "heard: still there?" in lab.inbox("operator"))


def test_the_manager_proposes_by_its_own_socket_and_the_operator_sees_who_and_why(lab: Lab) -> None:
    lab.post("/api/messages", to="manager", body='edit alice agent.toml\nlabel = "better"\n')
    lab.until(lambda: any(text.startswith("committed ") for text in lab.inbox("operator")))
    lab.post("/api/messages", to="manager", body="propose alice it needs a better name")
    card = lab.until(lambda: next(iter(lab.get("/api/proposals", agent="alice")), None))
    assert (card["proposed_by"], card["description"]) == ("manager", "it needs a better name")
    assert (card["kind"], card["commit_ref"]) == ("apply_commit", card["fetched_sha"])
    assert f"asked for approval of {card['fetched_sha']}" in lab.until(
        lambda: [text for text in lab.inbox("operator") if text.startswith("asked")]
    )
    card = lab.approve(card["id"])
    assert card["state"] == "deployed", f"{card['note']}\n{lab.tail()}"
    assert lab.agent()["phase"] == "running"


def test_an_agent_that_is_no_manager_cannot_propose(lab: Lab) -> None:
    answer = lab.ask("bob", cmd="request_apply_commit", agent="bob", commit_ref="1" * 40, description=None)
    assert answer["kind"] == "err"
    assert "unknown cmd" in answer["message"]
