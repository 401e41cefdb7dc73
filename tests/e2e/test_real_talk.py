"""Real coding agents talk: messages, questions, and a change that the manager proposes. The CLI is claude's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab
from tests.support.real_agents import (
    CLAUDE,
    SETTINGS,
    TOML,
    VERSION,
    Model,
    log_in,
    model,
    plan,
    send,
    send_message,
    spawn,
    state_is,
)


def prepare(lab: Lab) -> None:
    spawn(lab, "alice", "bob")
    log_in(lab, "manager")
    assert lab.deploy(TOML, "manager")["state"] == "deployed", lab.tail()


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
    pytest.mark.lab(settings=SETTINGS, tiny=False, prepare=prepare),
]


@pytest.fixture(scope="module")
def messages() -> Iterator[FakeMessages]:
    with FakeMessages() as fake:
        yield fake


@pytest.fixture
def fake(lab: Lab, messages: FakeMessages) -> Model:
    return model(lab, messages, "alice", "bob", "manager")


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


def test_the_manager_changes_an_agent_by_itself_and_the_operator_approves(lab: Lab, fake: Model) -> None:
    toml = TOML + 'label = "bob, by the manager"\n'
    script = "\n".join(
        [
            "cd /agents/bob/config",
            f"cat > agent.toml <<'END'\n{toml}END",
            "git -c user.name=m -c user.email=m@x commit -qam 'new label'",
            "git rev-parse HEAD",
        ]
    )
    send_message(lab, "manager", plan({"tool": "Bash", "input": {"command": script}}, {"text": "committed"}))
    commit = lab.until(lambda: re.search(r"\b[0-9a-f]{40}\b", "".join(fake.results("new label"))))[0]
    request = {
        "tool": "mcp__hive__request_apply_commit",
        "input": {"agent": "bob", "commit_ref": commit, "description": "a new label"},
    }
    send_message(lab, "manager", plan(request, {"text": "asked"}))
    (proposal,) = lab.until(lambda: [card for card in lab.get("/api/proposals") if card["agent"] == "bob"])
    assert lab.approve(proposal["id"])["state"] == "deployed"
    assert state_is(lab, "bob", "running")
    send_message(lab, "bob", plan({"text": "hello"}))
    lab.until(lambda: [turn for turn in fake.turns("bob, by the manager") if "configuration" in str(turn)])
