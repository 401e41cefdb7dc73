"""A budget of agent.toml: it holds the agent, over a restart of the daemon, until a deploy gives it more."""

from __future__ import annotations

import json

import pytest

from tests.support.lab import Lab

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.full,
    pytest.mark.timeout(180),
    pytest.mark.lab(agents=("alice",), tiny=False, settings={"HIVE_HEALTH_DEADLINE": "30"}),
]

RULES = '[[script]]\nwhen = ".*"\nreply = "done"\n'


def replies(lab: Lab) -> int:
    return lab.hive("inbox").out.count("done")


def test_an_agent_stops_at_its_budget_and_goes_on_once_a_deploy_raises_it(lab: Lab) -> None:
    assert lab.deploy(f"{RULES}[budget]\nturns = 1\n")["state"] == "deployed"
    for _ in range(3):
        lab.post("/api/messages", to="alice", body="work")
    lab.until(lambda: lab.agent()["phase"] == "over-budget")
    assert replies(lab) <= 2  # one turn may have begun before the hold
    before = replies(lab)
    assert "agent-over-budget" in lab.hive("attention", "--json").out
    lab.kill()
    lab.start()
    lab.until(lambda: lab.agent()["phase"] == "over-budget")
    assert replies(lab) == before
    usage = json.loads(lab.hive("usage", "alice", "--json").out)
    assert usage["agents"][0]["over"].startswith("today's budget is used up: ")
    assert {turn["runtime"] for turn in usage["turns"]} == {"script"}
    assert {turn["source"] for turn in usage["turns"]} == {"operator"}
    assert lab.deploy(f"{RULES}[budget]\nturns = 100\n")["state"] == "deployed"
    lab.until(lambda: replies(lab) == 3)
    assert len(lab.events("agent_over_budget")) == len(lab.events("agent_within_budget")) == 1
