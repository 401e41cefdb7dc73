"""The operator in command of a real agent's turns: pause, resume, cancel, model."""

from __future__ import annotations

import pytest

from tests.support.lab import Lab
from tests.support.real_agents import (
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


def test_a_pause_stops_the_turn_and_a_resume_does_it_again_with_the_model_that_was_set_meanwhile(
    lab: Lab, fake: Model
) -> None:
    begin(lab, fake, "paused work")
    assert lab.hive("turn", "pause", "alice").code == 0
    state_is(lab, "alice", "paused")
    (first,) = fake.turns("paused work")
    assert lab.hive("model", "alice", "claude-sonnet-4-5").code == 0
    fake.fake.push(send("operator", "after the pause"), {"text": "ok"})
    row = lab.agent("alice")
    assert (row["phase"], row["paused"], row["turn"]) == ("paused", True, "paused")
    assert lab.hive("turn", "resume", "alice").code == 0
    operator_has(lab, "after the pause")
    _, again = fake.turns("paused work")
    assert "may already be handled" in str(newest_prompt(again))
    assert again["model"] == "claude-sonnet-4-5" != first["model"]
    assert failures(lab, "paused work") == [0]
    assert lab.hive("model", "alice", "--default").code == 0


@pytest.mark.full  # in every run the daemon's part is tried with a stand-in of the harness, and the harness's by itself
def test_a_pause_and_a_model_outlast_a_restart(lab: Lab, fake: Model) -> None:
    assert lab.hive("turn", "pause", "alice").code == 0
    assert lab.hive("model", "alice", "claude-sonnet-4-5").code == 0
    send_message(lab, "alice", plan(send("operator", "after the restart"), {"text": "ok"}))
    lab.do("alice", "restart")
    lab.until(lambda: lab.agent("alice")["model_override"] == "claude-sonnet-4-5")
    assert state_is(lab, "alice", "paused")["turn"] == "paused"
    assert "after the restart" not in lab.inbox("operator")
    assert lab.hive("turn", "resume", "alice").code == 0
    operator_has(lab, "after the restart")
    assert {turn["model"] for turn in fake.turns("after the restart")} == {"claude-sonnet-4-5"}
    assert lab.hive("model", "alice", "--default").code == 0


def test_a_cancel_ends_the_turn_and_the_message_does_not_come_again(lab: Lab, fake: Model) -> None:
    begin(lab, fake, "cancelled work")
    assert lab.hive("turn", "cancel", "alice").code == 0
    assert turn_state(lab, "alice") == "idle"
    send_message(lab, "alice", plan(send("operator", "next"), {"text": "ok"}))
    operator_has(lab, "next")
    # the CLI may repeat a text without an answer together with the next one; from hive it would come with the hint
    assert not [turn for turn in fake.turns("cancelled work") if "may already be handled" in str(newest_prompt(turn))]
