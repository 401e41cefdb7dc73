"""The conversation of a real agent: made shorter by the operator, at a watermark and when it overflows; begun anew."""

from __future__ import annotations

import json
from typing import Any

from tests.support.fake_messages import Step
from tests.support.lab import Lab
from tests.support.real_agents import REAL, Model, failures, is_between_turns, operator_has, plan, send, send_message

pytestmark = REAL
LONG = "what was said before. " * 200


def say(lab: Lab, fake: Model, words: str, **more: Any) -> str:
    """Have a turn with this answer. Return the messages that the model was shown in it."""
    send_message(lab, "alice", plan({"text": words, **more}))
    (body,) = lab.until(lambda: fake.turns(words))
    lab.until(lambda: is_between_turns(lab, "alice"))
    return json.dumps(body["messages"])


def compactions(lab: Lab) -> list[str]:
    """Return what the compactions in the agent's live events were for."""
    events = [entry["event"] for entry in lab.get("/api/agents/alice/events", limit=1000)]
    return [event["trigger"] for event in events if event["kind"] == "compaction"]


def test_the_operator_has_it_compacted_and_begun_anew(lab: Lab, fake: Model) -> None:
    say(lab, fake, f"one: {LONG}")
    before = say(lab, fake, "two")
    assert LONG in before
    compacted = lab.hive("turn", "compact", "alice")
    assert (compacted.code, "compacted: " in compacted.out) == (0, True), compacted
    after = say(lab, fake, "three")
    assert "FAKE SUMMARY" in after
    assert LONG not in after
    assert len(after) < len(before)
    assert compactions(lab)[-1] == "operator"
    assert lab.hive("turn", "new-session", "alice").code == 0
    anew = say(lab, fake, "four")
    assert "FAKE SUMMARY" not in anew
    assert '"three"' not in anew


def test_it_is_compacted_ahead_once_it_is_nearly_full(lab: Lab, fake: Model) -> None:
    say(lab, fake, f"five: {LONG}")
    say(lab, fake, "six", usage={"input_tokens": 850_000})
    lab.until(lambda: compactions(lab)[-1:] == ["watermark"])
    shorter = say(lab, fake, "seven")
    assert "FAKE SUMMARY" in shorter
    assert LONG not in shorter


def test_one_that_is_too_long_is_compacted_and_the_turn_goes_on(lab: Lab, fake: Model) -> None:
    say(lab, fake, f"eight: {LONG}")
    overflow: Step = {"error": 400, "kind": "prompt_too_long", "times": 1, "then": send("operator", "it fits now")}
    send_message(lab, "alice", plan(overflow, {"text": "ok"}))
    operator_has(lab, "it fits now")
    refused, accepted, *_ = (json.dumps(body["messages"]) for body in fake.turns("it fits now"))
    assert (LONG in refused, LONG in accepted) == (True, False)
    assert len(accepted) < len(refused)
    assert compactions(lab)[-1] == "overflow"
    assert failures(lab, "it fits now") == [0]
