"""Real coding agents talk: messages, questions, and a change that the manager proposes."""

from __future__ import annotations

import pytest

from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab
from tests.support.real_agents import REAL, TOML, VERSION, Model, plan, ready, send, send_message

pytestmark = REAL

CHANGE = f"""cd /agents/bob/config &&
cat > agent.toml <<'END'
{TOML}label = "bob, the second reviewer"
END
git -c user.name=m -c user.email=m@x commit -qam 'label bob' && git rev-parse HEAD"""


@pytest.fixture
def fake(lab: Lab, messages: FakeMessages) -> Model:
    return ready(lab, messages, "alice", "bob", "manager")


def test_a_message_leads_to_a_tool_call_that_another_agent_answers(lab: Lab, fake: Model) -> None:
    answer = plan(send("alice", "pong of bob"), {"text": "answered"})
    send_message(lab, "alice", plan(send("bob", answer), {"text": "asked bob"}))
    lab.until(lambda: "pong of bob" in lab.inbox("alice"))
    (ask,) = [body for body in lab.inbox("bob") if "@@plan" in body]
    assert ask == answer
    lab.until(lambda: fake.turns("pong of bob"))
    assert lab.agent("alice")["program"] == VERSION
    assert {call["headers"]["user-agent"].split()[0] for call in fake.fake.calls("main")} == {f"claude-cli/{VERSION}"}


def test_a_question_to_the_operator_comes_back_as_a_turn_with_its_answer(lab: Lab, fake: Model) -> None:
    ask = {"tool": "mcp__hive__ask", "input": {"to": "operator", "question": "which branch?", "options": ["a", "b"]}}
    send_message(lab, "alice", plan(ask, {"text": "waiting"}))
    (question,) = lab.until(lambda: lab.get("/api/questions"))
    assert lab.hive("answer", str(question["id"]), "b").code == 0
    lab.until(lambda: [turn for turn in fake.turns("question_answered") if "which branch?" in str(turn)])


def test_a_wish_of_an_agent_makes_the_manager_propose_a_change_that_the_operator_approves(
    lab: Lab, fake: Model
) -> None:
    commit = {"commit_ref": "@@found \\b[0-9a-f]{40}\\b", "agent": "bob", "description": "as alice wishes"}
    fake.fake.when(
        "label bob as the second reviewer",
        {"tool": "Bash", "input": {"command": CHANGE}},
        {"tool": "mcp__hive__request_apply_commit", "input": commit},
        {"text": "proposed"},
    )
    fake.fake.when('"agent":"bob","commit_ref"', send("alice", "bob is what you wished for"), {"text": "told"})
    send_message(lab, "alice", plan(send("manager", "please label bob as the second reviewer"), {"text": "asked"}))
    (proposal,) = lab.until(lambda: [card for card in lab.get("/api/proposals") if card["agent"] == "bob"])
    assert proposal["description"] == "as alice wishes"
    assert lab.approve(proposal["id"])["state"] == "deployed"
    lab.until(lambda: "bob is what you wished for" in lab.inbox("alice"))
    assert 'label = "bob, the second reviewer"' in lab.git(lab.applied("bob"), "show", "main:agent.toml")
