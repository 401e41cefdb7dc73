"""Real coding agents talk: messages, questions, and a change that the manager proposes. The CLI is claude's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab import Lab
from tests.support.real_agents import (
    CLAUDE,
    SETTINGS,
    TOML,
    VERSION,
    Model,
    deploy,
    model,
    plan,
    send,
    send_message,
    state_is,
)


def prepare(lab: Lab) -> None:
    deploy(lab, "alice", "bob", "manager")


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
    pytest.mark.lab(agents=("alice", "bob"), settings=SETTINGS, tiny=False, prepare=prepare),
]


@pytest.fixture
def fake(lab: Lab) -> Iterator[Model]:
    with model(lab, ("alice", "bob", "manager")) as made:
        yield made


def test_a_message_leads_to_a_tool_call_that_another_agent_answers(lab: Lab, fake: Model) -> None:
    answer = plan(send("alice", "pong of bob"), {"text": "answered"})
    send_message(lab, "alice", plan(send("bob", answer), {"text": "asked bob"}))
    lab.until(lambda: "pong of bob" in lab.inbox("alice"))
    (ask,) = [body for body in lab.inbox("bob") if "@@plan" in body]
    assert ask == answer
    lab.until(lambda: fake.turns("pong of bob"))
    assert lab.agent("alice")["program"] == VERSION


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
    lab.until(lambda: fake.results("new label"))
    commit = fake.results("new label")[-1].split('"')[1].removesuffix("\\n")[-40:]
    request = {
        "tool": "mcp__hive__request_apply_commit",
        "input": {"agent": "bob", "commit_ref": commit, "description": "a new label"},
    }
    send_message(lab, "manager", plan(request, {"text": "asked"}))
    (proposal,) = lab.until(lambda: lab.get("/api/proposals", state="pending"))
    assert lab.approve(proposal["id"])["state"] == "deployed"
    assert state_is(lab, "bob", "running")
    send_message(lab, "bob", plan({"text": "hello"}))
    lab.until(lambda: [turn for turn in fake.turns("bob, by the manager") if "configuration" in str(turn)])
