"""Outages, limits and logins: the message waits, the state says why, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.lab import Lab
from tests.support.real_agents import (
    CLAUDE,
    SETTINGS,
    Model,
    deploy,
    log_in,
    log_out,
    model,
    operator_has,
    plan,
    send,
    send_message,
    state_is,
)


def prepare(lab: Lab) -> None:
    deploy(lab, "alice")


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
    pytest.mark.lab(agents=("alice",), settings=SETTINGS, tiny=False, prepare=prepare),
]


@pytest.fixture
def fake(lab: Lab) -> Iterator[Model]:
    with model(lab, ("alice",)) as made:
        yield made


def done(word: str) -> list[dict[str, object]]:
    return [send("operator", word), {"text": "done"}]


def test_a_rate_limit_parks_the_agent_until_the_time_that_the_api_names(lab: Lab, fake: Model) -> None:
    reset = int(time.time()) + 4
    limit = {
        "error": 429,
        "headers": {
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-reset": str(reset),
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
            "retry-after": "3600",
        },
    }
    fake.fake.push(limit)
    send_message(lab, "alice", "please work")
    row = state_is(lab, "alice", "parked")
    assert row["turn_until"] == pytest.approx(reset, abs=1)
    lab.until(lambda: lab.agent("alice")["phase"] == "running" and fake.turns("please work")[1:])
    assert time.time() >= reset


def test_an_overload_that_passes_costs_no_attempt(lab: Lab, fake: Model) -> None:
    send_message(lab, "alice", plan({"error": 529, "times": 3, "then": done("after the overload")[0]}, {"text": "ok"}))
    operator_has(lab, "after the overload")
    assert not lab.get("/api/dead-letters")


def test_an_api_that_is_away_for_many_turns_loses_nothing(lab: Lab, fake: Model) -> None:
    fake.away("alice")
    for number in range(3):
        send_message(lab, "alice", plan(*done(f"kept {number}")))
    state_is(lab, "alice", "parked")
    lab.until(lambda: len([e for e in lab.get("/api/agents/alice/events") if e["event"]["kind"] == "turn_end"]) >= 6)
    assert not lab.get("/api/dead-letters")
    fake.attach("alice")
    for number in range(3):
        operator_has(lab, f"kept {number}")
    assert [body for body in lab.inbox("operator") if body.startswith("kept")] == ["kept 0", "kept 1", "kept 2"]


def test_a_conversation_that_is_too_long_is_compacted_and_the_turn_goes_on(lab: Lab, fake: Model) -> None:
    send_message(lab, "alice", plan({"text": "a first answer"}))
    lab.until(lambda: fake.turns("a first answer"))
    overflow = {"error": 400, "kind": "prompt_too_long", "times": 1, "then": done("after the compaction")[0]}
    send_message(lab, "alice", plan(overflow, {"text": "ok"}))
    operator_has(lab, "after the compaction")
    assert fake.fake.calls("compact")


def test_a_missing_login_is_a_state_and_ends_with_the_file(lab: Lab, fake: Model) -> None:
    log_out(lab, "alice")
    send_message(lab, "alice", plan(*done("logged in again")))
    state_is(lab, "alice", "needs-login")
    assert [event["kind"] for event in lab.events("needs_login", "alice")][-1:] == ["needs_login"]
    log_in(lab, "alice")
    operator_has(lab, "logged in again")
    assert len(lab.events("needs_login", "alice")) == len(lab.events("logged_in", "alice"))
