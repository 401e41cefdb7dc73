"""Questions, reminders and loose ends over the agents' own sockets, with kills of the daemon in between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meta.names import AgentName
from tests.support.lab import Lab

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice", "bob"))]


def inbox(lab: Lab, agent: str) -> list[dict[str, Any]]:
    return [json.loads(body) for body in lab.inbox(agent) if body.startswith("{")]


def again(lab: Lab) -> None:
    lab.kill()
    lab.start()
    for agent in ("alice", "bob", "manager"):
        lab.settle(agent)


def test_a_question_to_a_peer_outlives_the_daemon_and_is_answered_once(lab: Lab) -> None:
    asked = lab.ask("alice", cmd="ask", question="which?", options=["a", "b"], multi=True, to="bob")
    id = asked["id"]
    assert asked == {"kind": "question_queued", "id": id}
    again(lab)
    question = {"event": "question_asked", "id": id, "asker": "alice", "question": "which?"}
    assert inbox(lab, "bob") == [{**question, "options": ["a", "b"], "multi": True}]
    [end] = lab.ask("bob", cmd="get_loose_ends")["loose_ends"]
    assert (end["kind"], end["asker"], end["target"], end["id"]) == ("question", "alice", "bob", id)
    assert "not asked of alice" in lab.ask("alice", cmd="answer", id=id, answer="a")["message"]
    assert lab.ask("bob", cmd="answer", id=id, answer="a, b") == {"kind": "ok"}
    assert "already" in lab.ask("bob", cmd="answer", id=id, answer="a")["message"]
    again(lab)
    answered = {"event": "question_answered", "id": id, "question": "which?", "answer": "a, b", "answerer": "bob"}
    assert inbox(lab, "alice") == [answered]
    assert lab.ask("manager", cmd="get_loose_ends") == {"kind": "loose_ends", "loose_ends": []}


def test_what_expires_and_what_is_due_while_no_daemon_runs_comes_with_the_next(lab: Lab) -> None:
    id = lab.ask("alice", cmd="ask", question="in time?", ttl_seconds=0, to="manager")["id"]
    lab.until(lambda: [each for each in inbox(lab, "alice") if (each["id"], each["answer"]) == (id, "[expired]")])
    timing = {"timing_type": "in_seconds", "seconds": 1}
    for text in ("one", "two"):
        assert lab.ask("bob", cmd="remind", message=text, timing=timing) == {"kind": "ok"}
    assert lab.ask("bob", cmd="count_pending_reminders") == {"kind": "pending_reminders_count", "count": 2}
    again(lab)
    lab.until(lambda: lab.inbox("bob")[-2:] == ["one", "two"])
    assert lab.ask("bob", cmd="count_pending_reminders")["count"] == 0
    [*_, last] = lab.ask("bob", cmd="recent", limit=1)["rows"]
    assert (last["from"], last["body"]) == ("reminder", "two")


def test_a_named_file_is_the_agents_own(lab: Lab) -> None:
    timing = {"timing_type": "at", "unix_timestamp": 0}
    request = {"cmd": "remind", "message": "read me", "timing": timing, "file_path": "notes/a.md"}
    assert lab.ask("alice", **request) == {"kind": "ok"}
    state = lab.layout.agent_state(AgentName("alice"))
    file = state / "reminders" / "notes" / "a.md"
    assert (file.read_text(), file.stat().st_uid) == ("read me", state.stat().st_uid)
    lab.until(lambda: any("/state/reminders/notes/a.md" in body for body in lab.inbox("alice")))
    assert "not a path for a reminder" in lab.ask("alice", **{**request, "file_path": "../../x"})["message"]


def test_a_loose_end_is_cancelled_by_its_owner_or_the_manager_and_the_asker_hears_who(lab: Lab) -> None:
    ids = [lab.ask("alice", cmd="ask", question=text)["id"] for text in ("first?", "second?")]
    seen = [end["id"] for end in lab.ask("manager", cmd="get_loose_ends")["loose_ends"]]
    assert seen == ids[::-1]
    assert "was not asked by bob" in lab.ask("bob", cmd="cancel_loose_end", kind="question", id=ids[0])["message"]
    for id, by in zip(ids, ("alice", "manager"), strict=True):
        assert lab.ask(by, cmd="cancel_loose_end", kind="question", id=id) == {"kind": "ok"}
        told = inbox(lab, "alice")[-1]
        assert (told["id"], told["answer"], told["answerer"]) == (id, f"[cancelled by {by}]", by)
    assert "there is no reminder" in lab.ask("alice", cmd="cancel_loose_end", kind="reminder", id=999)["message"]
