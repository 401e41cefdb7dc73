"""What was deployed while its agent was stopped was never started: its first start is its health gate."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lab import Lab

GOOD = 'label = "good"\n'
BAD = "[start]\nexit = 3\n"
MUTE = '[start]\nfault = "never-hello"\n'
NOTE = "unproven: not started by its deploy, the agent was stopped"

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(settings={"HIVE_HEALTH_DEADLINE": "20", "HIVE_RESYNC": "30"}, faults=True),
]


def stopped(lab: Lab, agent: str) -> dict[str, Any]:
    """A new agent that was stopped; its row while it ran."""
    lab.spawn(agent)
    row = lab.agent(agent)
    lab.do(agent, "stop")
    return row


def crashes(lab: Lab, agent: str) -> list[dict[str, Any]]:
    return [event["data"] for event in lab.events("container_crash", agent)]


def test_a_good_one_is_said_to_be_unproven_until_its_first_start_passed_the_gate(lab: Lab) -> None:
    stopped(lab, "alice")
    card = lab.deploy(GOOD)
    id = card["id"]
    assert (card["state"], card["note"]) == ("deployed", NOTE)
    assert lab.agent()["conditions"] == [f"{id} is unproven, not started yet"]
    assert f"{id} is unproven, not started yet" in lab.hive("status").out
    assert NOTE in lab.hive("history", "alice").out
    lab.do("alice", "start")
    row = lab.agent()
    assert (row["phase"], row["conditions"], row["sha"]) == ("running", [], card["fetched_sha"])
    assert lab.card(id)["note"] is None
    assert lab.events("agent_started", "alice")[-1]["data"]["deploy"] == id
    lab.stop()
    lab.start()
    lab.settle()
    assert (lab.card(id)["note"], lab.agent()["pid"]) == (None, row["pid"])


def test_a_bad_one_is_started_once_then_held_and_a_rollback_goes_through_the_gate(lab: Lab) -> None:
    before = stopped(lab, "bob")
    bad = lab.deploy(BAD, "bob")
    assert (bad["state"], bad["note"]) == ("deployed", NOTE)
    lab.do("bob", "start")
    row = lab.agent("bob")
    assert (row["phase"], row["pid"], row["crashes"]) == ("failed", None, 1)
    assert row["conditions"] == [
        f"its first start after deploy {bad['id']} failed",
        "`hive rollback bob 0` goes back, `hive restart bob` tries again",
    ]
    (crash,) = crashes(lab, "bob")
    assert crash["why"] == f"its first start after deploy {bad['id']} failed: exited with code 3"
    assert crash["restart_in"] is None
    assert "starts again" not in lab.hive("events", "--agent", "bob").out
    starts = len(lab.events("agent_started", "bob"))
    lab.stop()
    lab.start()
    lab.settle()
    assert lab.agent("bob")["phase"] == "failed", "another daemon does not try it either"
    lab.do("bob", "stop")
    assert lab.agent("bob")["conditions"] == [f"{bad['id']} is unproven, its first start failed"]
    assert len(lab.events("agent_started", "bob")) == starts
    lab.do("bob", "restart")
    assert (lab.agent("bob")["phase"], len(crashes(lab, "bob"))) == ("failed", 2), "one try for each time it is asked"
    said = lab.hive("rollback", "bob", "0", "--wait")
    assert said.code == 0, said
    lab.settle("bob")
    row = lab.agent("bob")
    assert (row["phase"], row["conditions"], row["crashes"]) == ("running", [], 0)
    assert row["generation"] == before["generation"]


def test_a_good_commit_on_top_of_a_bad_one_ends_the_hold(lab: Lab) -> None:
    stopped(lab, "carol")
    lab.deploy(BAD, "carol")
    lab.do("carol", "start")
    assert lab.agent("carol")["phase"] == "failed"
    assert lab.deploy(GOOD + BAD, "carol")["state"] == "failed"
    row = lab.agent("carol")
    assert (row["phase"], row["pid"]) == ("failed", None), "neither of the two runs"
    assert lab.deploy(GOOD, "carol")["state"] == "deployed"
    assert lab.agent("carol")["phase"] == "running"


def test_a_bad_one_whose_gate_was_cut_short_by_a_stop_is_not_proven_by_that(lab: Lab) -> None:
    lab.spawn("dave")
    id = lab.propose(MUTE, "dave")
    lab.post(f"/api/proposals/{id}/approve")
    lab.until(lambda: any(event["data"]["deploy"] == id for event in lab.events("agent_started", "dave")))
    lab.do("dave", "stop", now=True)
    assert (lab.card(id)["state"], lab.card(id)["note"]) == ("deployed", NOTE)
    lab.stop()
    lab.settings["HIVE_HEALTH_DEADLINE"] = "2"
    lab.start()
    lab.do("dave", "start")
    row = lab.agent("dave")
    assert (row["phase"], row["pid"]) == ("failed", None)
    (crash,) = crashes(lab, "dave")
    assert crash["why"] == f"its first start after deploy {id} failed: no harness connected within 2 s"
