"""The operator's commands for talking, against a real daemon and a real agent's socket."""

from __future__ import annotations

import json
import threading

import pytest

from meta.names import AgentName
from tests.support.lab import Lab

pytestmark = pytest.mark.lab(agents=("alice", "bob"), backend="fake")


def next_event(lab: Lab, agent: str) -> dict[str, object]:
    """The next helper event that the agent receives; other messages are passed over."""
    while True:
        got = lab.ask(agent, cmd="recv", wait_seconds=20)
        lab.ask(agent, cmd="ack_turn")
        assert got["kind"] == "message", got
        if got["from"] == "system":
            found: dict[str, object] = json.loads(got["body"])
            return found


def test_a_message_and_a_broadcast_reach_their_inboxes_and_the_answer_is_read(lab: Lab) -> None:
    assert lab.hive("send", "alice", "good morning").code == 0
    assert lab.hive("send", "*", "all hands").code == 0
    got = [lab.ask("alice", cmd="recv", wait_seconds=5) for _ in range(2)]
    assert [one["from"] for one in got] == ["operator", "operator"]
    assert got[0]["body"] == "good morning"
    assert "all hands" in got[1]["body"]
    lab.ask("alice", cmd="ack_turn")
    lab.hive("inbox", "--read")
    lab.ask("alice", cmd="send", to="operator", body="good morning to you")
    shown = lab.hive("inbox")
    assert "from alice" in shown.out
    assert "good morning to you" in shown.out
    assert lab.get("/api/state")["unread"] == 1
    assert "for you: 1 unread message (`hive inbox`)" in lab.hive("status").out
    assert lab.hive("inbox", "--read").code == 0
    assert lab.get("/api/state")["unread"] == 0
    assert "unread message" not in lab.hive("status").out


def test_the_same_key_sends_once(lab: Lab) -> None:
    first = json.loads(lab.hive("send", "bob", "once", "--key", "k1", "--json").out)
    again = json.loads(lab.hive("send", "bob", "once", "--key", "k1", "--json").out)
    assert first["id"] == again["id"]


def test_a_question_is_asked_answered_and_waited_for(lab: Lab) -> None:
    def answer() -> None:
        asked = next_event(lab, "alice")
        assert asked["options"] == ["main", "next"]
        lab.ask("alice", cmd="answer", id=asked["id"], answer="main")

    thread = threading.Thread(target=answer)
    thread.start()
    said = lab.hive("ask", "alice", "which branch?", "-o", "main", "-o", "next", "--wait", "--timeout", "30s")
    thread.join(30)
    assert (said.code, said.out) == (0, "main\n")


def test_the_answer_to_a_question_is_read_as_a_sentence_in_the_inbox(lab: Lab) -> None:
    assert lab.hive("ask", "alice", "ready?").code == 0
    lab.ask("alice", cmd="answer", id=next_event(lab, "alice")["id"], answer="nearly")
    assert "alice answers question" in lab.hive("inbox").out
    assert "(ready?): nearly" in lab.hive("inbox").out
    newest = json.loads(lab.hive("inbox", "-n", "1", "--json").out)[0]
    assert json.loads(newest["body"])["answer"] == "nearly"


def test_a_question_that_nobody_answers_stays_and_the_wait_ends_with_its_own_code(lab: Lab) -> None:
    said = lab.hive("ask", "bob", "anybody?", "--wait", "--timeout", "0s")
    assert said.code == 6
    assert "stays open" in said.err
    assert "anybody?" in lab.hive("questions").out


def test_the_operator_answers_an_agent_with_several_words(lab: Lab) -> None:
    id = lab.ask("alice", cmd="ask", question="colours?", options=["red", "green"], multi=True)["id"]
    shown = lab.hive("questions").out
    assert "red, green (one or several)" in shown
    assert f"to answer: `hive answer {id} TEXT`" in shown
    assert "1 open question (`hive questions`)" in lab.hive("status").out
    assert json.loads(lab.hive("status", "--json").out)["questions"] == 1
    assert lab.hive("answer", str(id), "red", "green").code == 0
    told = next_event(lab, "alice")
    assert (told["event"], told["answer"], told["answerer"]) == ("question_answered", "red, green", "operator")
    assert lab.hive("answer", str(id), "blue").code == 4


def test_a_reminder_is_set_listed_and_cancelled(lab: Lab) -> None:
    made = json.loads(lab.hive("remind", "alice", "look again", "--in", "2h", "--json").out)
    assert "look again" in lab.hive("loose-ends").out
    assert lab.hive("cancel-loose-end", "reminder", str(made["id"]), "--yes").code == 0
    assert "look again" not in lab.hive("loose-ends").out
    assert lab.hive("cancel-loose-end", "reminder", str(made["id"]), "--yes").code == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("send", "nobody", "x"), 3),
        (("send", "No!", "x"), 2),
        (("ask", "alice", "x", "--ttl", "soon"), 2),
        (("remind", "alice", "x"), 2),
        (("remind", "alice", "x", "--at", "tomorrow"), 2),
        (("remind", "alice", "x", "--at", "2020-01-01"), 2),
        (("remind", "alice", "x", "--at", "1970-01-01T00:00+00:00"), 2),
        (("cancel-loose-end", "approval", "1"), 2),
        (("answer", "999", "x"), 3),
        (("dead-letters", "--revive", "999"), 3),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(lab: Lab, words: tuple[str, ...], code: int) -> None:
    said = lab.hive(*words)
    assert said.code == code, said
    assert said.err.startswith("hive: ")


def test_a_message_that_is_never_acked_is_a_dead_letter_that_can_be_revived(lab: Lab) -> None:
    while lab.ask("bob", cmd="recv", wait_seconds=0)["kind"] == "message":
        lab.ask("bob", cmd="ack_turn")
    lab.ask("alice", cmd="send", to="bob", body="poison")
    for _ in range(3):
        assert lab.ask("bob", cmd="recv", wait_seconds=5)["body"] == "poison"
        lab.ask("bob", cmd="requeue_inflight")
    assert lab.ask("bob", cmd="recv", wait_seconds=0)["kind"] == "empty"
    letter = json.loads(lab.hive("dead-letters", "--json").out)[0]
    assert letter["body"] == "poison"
    assert "poison" in lab.hive("dead-letters").out
    assert "1 dead letter (`hive dead-letters`)" in lab.hive("status").out
    assert lab.hive("dead-letters", "--revive", str(letter["id"])).code == 0
    assert lab.ask("bob", cmd="recv", wait_seconds=5)["body"] == "poison"
    for _ in range(3):
        lab.ask("bob", cmd="requeue_inflight")
        lab.ask("bob", cmd="recv", wait_seconds=0)
    lab.ask("bob", cmd="requeue_inflight")
    assert lab.hive("dead-letters", "--discard", str(letter["id"]), "--yes").code == 0
    assert json.loads(lab.hive("dead-letters", "--json").out) == []


def test_a_call_as_an_agent_is_the_agents_own(lab: Lab) -> None:
    said = json.loads(lab.hive("agent-call", "alice", "whoami").out)
    assert (said["name"], said["role"]) == ("alice", "agent")
    said = json.loads(lab.hive("agent-call", "alice", '{"cmd":"send","from":"bob","to":"bob","body":"hi"}').out)
    assert said == {"kind": "ok"}
    assert lab.ask("bob", cmd="recent", limit=1)["rows"][0]["from"] == "alice"
    assert lab.hive("agent-call", "nobody", "whoami").code == 3


def test_questions_and_messages_to_the_operator_are_events(lab: Lab) -> None:
    lab.ask("alice", cmd="send", to="operator", body="for the events")
    asked = lab.ask("alice", cmd="ask", question="for the events?")["id"]
    assert lab.hive("answer", str(asked), "yes").code == 0
    for kind in ("operator_message", "question_asked", "question_answered"):
        assert lab.events(kind), kind


def test_the_sockets_of_an_agent_are_where_the_layout_says(lab: Lab) -> None:
    assert lab.layout.mcp_socket(AgentName("alice")).is_socket()
    assert lab.layout.agent_http_socket(AgentName("alice")).is_socket()
