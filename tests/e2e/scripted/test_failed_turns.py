"""One message or one turn must not end an agent: what crashes it is put aside, what never ends is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.support.lab import Lab

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(120)]


def harness(lab: Lab) -> int:
    """Return the process of the harness in alice's container."""
    todo, last = [int(lab.agent()["pid"])], 0
    for pid in todo:  # bubblewrap has the command of the harness among its own words, and is above it
        if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            last = pid
        todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())
    return last


def dead(lab: Lab) -> list[str]:
    return [row["body"] for row in lab.get("/api/dead-letters")]


def test_a_message_that_crashes_the_agent_is_put_aside_and_the_agent_lives(lab: Lab) -> None:
    crashes = len(lab.events("container_crash", "alice"))
    for body in ("poison 1", "poison 2", "good"):
        lab.ask("alice", cmd="send", to="alice", body=body)
    lab.until(lambda: "did good" in lab.inbox("alice"))
    assert sorted(dead(lab)) == ["poison 1", "poison 2"]
    assert len(lab.events("container_crash", "alice")) == crashes + 4, "more than the crash limit of 3"
    assert [event["data"]["failed"] for event in lab.events("message_dead", "alice")] == [2, 2]
    lab.until(lambda: lab.agent()["crashes"] == 0)
    assert lab.agent()["phase"] == "running"


@pytest.mark.full  # which ends of a container count is tried with the store in every run
def test_a_stop_in_mid_turn_is_no_attempt(lab: Lab) -> None:
    before = len(dead(lab))
    lab.ask("alice", cmd="send", to="alice", body="good again")
    for _ in range(2):
        lab.do("alice", "restart", now=True)
    lab.until(lambda: "did good again" in lab.inbox("alice"))
    assert len(dead(lab)) == before


def test_a_turn_that_the_harness_cannot_end_is_ended_from_outside_and_counts_an_attempt(lab: Lab) -> None:
    pid = lab.agent()["pid"]
    lab.ask("alice", cmd="send", to="alice", body="sleep")
    lab.until(lambda: "sleeping" in lab.inbox("operator"))  # the turn before may still be in the agent's row
    row = lab.until(lambda: next((row for row in [lab.agent()] if row["turn_since"] is not None), None))
    os.kill(harness(lab), signal.SIGSTOP)
    assert (row["turn"], row["turn_limit"]) == ("thinking", 3.0)
    lab.until(lambda: lab.agent()["pid"] not in (None, pid))
    (stuck,) = lab.events("turn_stuck", "alice")
    assert stuck["data"]["stops"]
    assert stuck["data"]["seconds"] >= 3
    lab.until(lambda: any("its turn took longer than its limit" in body for body in lab.inbox("manager")))
    with contextlib.closing(sqlite3.connect(lab.layout.database)) as database:
        assert database.execute("SELECT failed FROM messages WHERE body = 'sleep'").fetchall() == [(1,)]
    lab.until(lambda: lab.agent()["phase"] == "running")
    assert lab.agent()["crashes"] == 0
