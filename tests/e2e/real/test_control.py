"""The operator in command of a real agent's turns: pause, resume, cancel, model, and a deploy that drains."""

from __future__ import annotations

import threading

from tests.support.lab import Lab
from tests.support.real_agents import (
    ALICE,
    REAL,
    Model,
    failures,
    newest_prompt,
    operator_has,
    plan,
    send,
    send_message,
    state_is,
    turn_state,
)

pytestmark = REAL


def begin(lab: Lab, fake: Model, text: str) -> None:
    """Begin a turn whose answer does not come to its end."""
    fake.fake.push({"text": "slow" * 100, "chunks": 400, "delay": 0.1})
    send_message(lab, "alice", text)
    lab.until(lambda: turn_state(lab, "alice") == "thinking" and fake.turns(text))


def test_a_pause_stops_the_turn_and_a_resume_does_it_again(lab: Lab, fake: Model) -> None:
    begin(lab, fake, "paused work")
    assert lab.hive("turn", "pause", "alice").code == 0
    state_is(lab, "alice", "paused")
    assert len(fake.turns("paused work")) == 1
    fake.fake.push(send("operator", "after the pause"), {"text": "ok"})
    lab.do("alice", "restart")
    row = state_is(lab, "alice", "paused")
    assert (row["paused"], row["turn"]) == (True, "paused")
    assert lab.hive("turn", "resume", "alice").code == 0
    operator_has(lab, "after the pause")
    _, again = fake.turns("paused work")
    assert "may already be handled" in str(newest_prompt(again))
    assert failures(lab, "paused work") == [0]


def test_a_cancel_ends_the_turn_and_the_message_does_not_come_again(lab: Lab, fake: Model) -> None:
    begin(lab, fake, "cancelled work")
    assert lab.hive("turn", "cancel", "alice").code == 0
    assert turn_state(lab, "alice") == "idle"
    send_message(lab, "alice", plan(send("operator", "next"), {"text": "ok"}))
    operator_has(lab, "next")
    assert len(fake.turns("cancelled work")) == 1


def test_the_operators_model_is_that_of_the_next_turn_and_survives_a_restart(lab: Lab, fake: Model) -> None:
    assert lab.hive("model", "alice", "claude-sonnet-4-5").code == 0
    send_message(lab, "alice", plan({"text": "with the model"}))
    lab.until(lambda: fake.turns("with the model"))
    assert fake.turns("with the model")[-1]["model"] == "claude-sonnet-4-5"
    lab.do("alice", "restart")
    lab.until(lambda: lab.agent("alice")["model_override"] == "claude-sonnet-4-5")
    assert lab.hive("model", "alice", "--default").code == 0


def test_a_deploy_waits_for_the_turn_of_a_thinking_agent(lab: Lab, fake: Model) -> None:
    answer = threading.Event()
    fake.fake.push({**send("operator", "before the deploy"), "until": answer}, {"text": "ok"})
    send_message(lab, "alice", "work through the deploy")
    lab.until(lambda: turn_state(lab, "alice") == "thinking")
    proposal = lab.propose(f'label = "alice, deployed"\n{ALICE}')
    lab.post(f"/api/proposals/{proposal}/approve")
    lab.until(lambda: "drain" in [row["step"] for row in lab.get("/api/plan") if row["agent"] == "alice"])
    assert "before the deploy" not in lab.inbox("operator")
    answer.set()
    lab.settle("alice")
    assert lab.card(proposal, "alice")["state"] == "deployed"
    assert "before the deploy" in lab.inbox("operator")
    assert failures(lab, "work through the deploy") == [0]
    assert len(fake.turns("work through the deploy")) == 1
