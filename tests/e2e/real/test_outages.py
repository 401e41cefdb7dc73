"""Outages, limits and logins: the message waits, the state says why, and nothing is lost."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import pytest

from harness.retry import SPREAD
from meta.names import AgentName
from tests.support.lab import Lab
from tests.support.real_agents import (
    REAL,
    Model,
    failures,
    log_in,
    log_out,
    operator_has,
    plan,
    send,
    send_message,
    state_is,
)

pytestmark = REAL


def done(word: str) -> list[dict[str, object]]:
    return [send("operator", word), {"text": "done"}]


def parked_again(lab: Lab, until: float) -> dict[str, Any] | None:
    """Return the agent's row if it is parked until another time than this one."""
    row = lab.agent("alice")
    return row if row["phase"] == "parked" and row["turn_until"] not in (None, until) else None


def try_again(lab: Lab) -> None:
    """Have a parked agent try at once."""
    assert lab.hive("model", "alice", "--default").code == 0


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
    assert failures(lab, "please work") == [0]


def test_an_overload_that_outlasts_the_tries_of_the_cli_parks_the_agent_and_costs_no_attempt(
    lab: Lab, fake: Model
) -> None:
    fake.fake.always({"error": 529})
    send_message(lab, "alice", plan(*done("after the overload")))
    row = state_is(lab, "alice", "parked")
    assert "529" in row["turn_reason"]
    assert len(fake.turns("after the overload")) == 2, "the CLI's own try and its one retry"
    try_again(lab)
    lab.until(partial(parked_again, lab, row["turn_until"]))
    assert len(fake.turns("after the overload")) == 4
    fake.fake.always(None)
    try_again(lab)
    operator_has(lab, "after the overload")
    assert failures(lab, "after the overload") == [0]


def test_a_way_out_that_is_away_is_waited_for_and_loses_nothing(lab: Lab, fake: Model) -> None:
    fake.away("alice")
    lab.do("alice", "restart")  # within two seconds of the last turn its harness would take the way out for there
    for number in range(2):
        # no tool: after a second the harness hands the next message to the turn, and the CLI shows it beside a result
        send_message(lab, "alice", plan({"text": f"parcel {number}"}))
    row = state_is(lab, "alice", "parked")
    assert "the way out does not answer" in row["turn_reason"]
    try_again(lab)
    assert state_is(lab, "alice", "parked")["turn_until"] is None
    assert fake.turns("parcel") == []
    fake.attach("alice")
    lab.until(lambda: fake.turns("parcel 0") and fake.turns("parcel 1"))
    assert failures(lab, "parcel") == [0, 0]


def test_a_login_that_is_missing_cut_off_or_unreadable_is_a_state_with_its_reason_and_ends_with_the_file(
    lab: Lab, fake: Model
) -> None:
    file = lab.layout.agent_home(AgentName("alice")) / ".claude/.credentials.json"
    whole = file.read_text(encoding="utf-8")
    log_out(lab, "alice")
    missing = state_is(lab, "alice", "needs-login")
    send_message(lab, "alice", plan(*done("logged in again")))
    log_in(lab, "alice", text=whole[:40])
    lab.until(lambda: lab.agent("alice")["turn_reason"] != missing["turn_reason"])
    assert lab.agent("alice")["turn_reason"].endswith("is cut off or damaged")
    file.write_text(whole, encoding="utf-8")
    file.chmod(0)
    lab.until(lambda: "cannot be read" in lab.agent("alice")["turn_reason"])
    assert "logged in again" not in lab.inbox("operator")
    log_in(lab, "alice")
    operator_has(lab, "logged in again")
    assert failures(lab, "logged in again") == [0]


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
    assert failures(lab, "with another login") == [0]
