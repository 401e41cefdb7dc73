"""Outages, limits and logins: the message waits, the state says why, and nothing is lost."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from harness.retry import SPREAD
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab
from tests.support.real_agents import (
    CLAUDE,
    SETTINGS,
    Model,
    log_in,
    log_out,
    model,
    operator_has,
    plan,
    send,
    send_message,
    spawn,
    state_is,
)


def prepare(lab: Lab) -> None:
    spawn(lab, "alice")


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
    return model(lab, messages, "alice")


def done(word: str) -> list[dict[str, object]]:
    return [send("operator", word), {"text": "done"}]


def parked_again(lab: Lab, until: float) -> dict[str, Any] | None:
    """Return the agent's row if it is parked until another time than this one."""
    row = lab.agent("alice")
    return row if row["phase"] == "parked" and row["turn_until"] not in (None, until) else None


def assert_nothing_was_lost(lab: Lab) -> None:
    """Fail unless no turn counts as failed and no message became a dead letter."""
    assert not lab.get("/api/dead-letters")


def test_a_rate_limit_parks_the_agent_until_the_time_that_the_api_names(lab: Lab, fake: Model) -> None:
    resets: list[int] = []

    def reset() -> int:
        resets.append(math.ceil(time.time()) + 1)
        return resets[-1]

    limit = {
        "error": 429,
        "headers": {
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-reset": reset,
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
            "retry-after": "3600",
        },
    }
    fake.fake.push(limit)
    send_message(lab, "alice", "please work")
    row = state_is(lab, "alice", "parked")
    assert resets[0] <= row["turn_until"] <= resets[0] + SPREAD
    assert "hit your 5-hour limit" in row["turn_reason"]
    lab.until(lambda: fake.turns("please work")[1:])
    assert time.time() >= resets[0]
    assert_nothing_was_lost(lab)


@pytest.mark.full  # the adapter is tried with it in every run
def test_an_overload_that_passes_costs_no_attempt(lab: Lab, fake: Model) -> None:
    send_message(lab, "alice", plan({"error": 529, "times": 3, "then": done("after the overload")[0]}, {"text": "ok"}))
    operator_has(lab, "after the overload")
    assert_nothing_was_lost(lab)


def test_an_api_that_is_away_for_six_turns_loses_nothing(lab: Lab, fake: Model) -> None:
    fake.away("alice")
    for number in range(3):
        send_message(lab, "alice", plan(*done(f"kept {number}")))
    row = state_is(lab, "alice", "parked")
    assert "no way out of this container" in row["turn_reason"]
    for _ in range(5):
        before = row["turn_until"]
        assert lab.hive("model", "alice", "--default").code == 0  # a parked agent tries again at once
        row = lab.until(partial(parked_again, lab, before))
    assert_nothing_was_lost(lab)
    fake.attach("alice")
    assert lab.hive("model", "alice", "--default").code == 0
    operator_has(lab, "kept 2")
    assert [body for body in lab.inbox("operator") if body.startswith("kept")] == ["kept 0", "kept 1", "kept 2"]


@pytest.mark.full  # five turns of the harness's own back-off take up to 155 s
@pytest.mark.timeout(300)
def test_an_agent_without_an_operator_waits_for_the_api_by_itself(lab: Lab, fake: Model) -> None:
    fake.away("alice")
    send_message(lab, "alice", plan(*done("by itself")))
    row = state_is(lab, "alice", "parked")
    for _ in range(4):
        row = lab.until(partial(parked_again, lab, row["turn_until"]), seconds=120)
    fake.attach("alice")
    lab.until(lambda: "by itself" in lab.inbox("operator"), seconds=180)
    assert_nothing_was_lost(lab)


def test_a_conversation_that_is_too_long_is_compacted_and_the_turn_goes_on(lab: Lab, fake: Model) -> None:
    send_message(lab, "alice", plan({"text": "a first answer"}))
    lab.until(lambda: fake.turns("a first answer"))
    overflow = {"error": 400, "kind": "prompt_too_long", "times": 1, "then": done("after the compaction")[0]}
    send_message(lab, "alice", plan(overflow, {"text": "ok"}))
    operator_has(lab, "after the compaction")
    assert fake.fake.calls("compact")


def test_a_missing_login_is_a_state_and_ends_with_the_file(lab: Lab, fake: Model) -> None:
    logins = len(lab.events("agent_logged_in", "alice"))
    log_out(lab, "alice")
    row = state_is(lab, "alice", "needs-login")
    assert "login" in row["turn_reason"] or "logged in" in row["turn_reason"]
    send_message(lab, "alice", plan(*done("logged in again")))
    assert len(lab.until(lambda: lab.events("agent_needs_login", "alice")[logins:])) == 1
    assert "logged in again" not in lab.inbox("operator")
    log_in(lab, "alice")
    operator_has(lab, "logged in again")
    assert len(lab.until(lambda: lab.events("agent_logged_in", "alice")[logins:])) == 1
    assert_nothing_was_lost(lab)


@pytest.mark.full  # the adapter is tried with it in every run
def test_a_login_that_the_api_refuses_is_a_state_until_the_file_changes(lab: Lab, fake: Model) -> None:
    fake.fake.always({"error": 401})
    send_message(lab, "alice", plan(*done("with another login")))
    row = state_is(lab, "alice", "needs-login")
    assert "`hive login alice`" in row["turn_reason"]
    fake.fake.always(None)
    log_in(lab, "alice", token="sk-ant-oat01-another")
    operator_has(lab, "with another login")
    assert fake.turns("with another login")
    assert fake.fake.calls("main")[-1]["headers"]["authorization"] == "Bearer sk-ant-oat01-another"
    assert_nothing_was_lost(lab)
