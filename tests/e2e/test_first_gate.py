"""From the answer to its spawn an agent is listed, can be written to, and may use every verb of its own socket."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import pytest

from api.operations.base import Surface
from api.operations.table import OPERATIONS
from meta.names import AgentName
from reconciler.plan.observed import Launch
from tests.api.operations.test_table import line_of
from tests.support.lab import Lab
from tests.support.lab_daemon import tiny_command

LAST = ("recv", "status")
"""Verbs that end the gate: they show that a peer without a link is alive."""


def silent_but_manager(agent: AgentName, launch: Launch) -> Sequence[str]:
    """Return a command that never gets through the health gate, unless it is the manager's."""
    if agent == "manager":
        return tiny_command(agent, launch)
    return (sys.executable, "-I", "-S", "-c", "import signal; signal.pause()")


@pytest.mark.bwrap
@pytest.mark.lab(settings={"HIVE_HEALTH_DEADLINE": "60"}, tiny=silent_but_manager)
def test_an_agent_in_its_first_gate_exists_and_may_use_every_verb_of_its_own_socket(lab: Lab) -> None:
    lab.post("/api/agents/alice/spawn")
    assert "alice" in [row["agent"] for row in lab.get("/api/agents")]
    assert "alice" in lab.hive("list").out.split()
    assert "alice" in lab.host(cmd="list")["agents"]
    assert lab.hive("send", "alice", "parked until it runs").code == 0
    assert lab.hive("send", "*", "to all").code == 0
    assert lab.hive("remind", "alice", "look", "--in", "1h").code == 0
    assert lab.hive("ask", "alice", "which?", "-o", "main").code == 0
    assert lab.ask("manager", cmd="send", to="alice", body="from the manager") == {"kind": "ok"}

    lab.until(lambda: lab.events("agent_started", "alice"))
    assert lab.agent()["phase"] == "starting"
    verbs = [operation for operation in OPERATIONS if Surface.AGENT in operation.surfaces]
    assert len(verbs) > 10
    for operation in sorted(verbs, key=lambda each: each.name in LAST):
        answer = json.dumps(lab.ask("alice", **line_of(operation, Surface.AGENT)))
        assert "no agent" not in answer, (operation.name, answer)
        assert "first commit" not in answer, (operation.name, answer)
    assert "parked until it runs" in lab.inbox("alice")


@pytest.mark.bwrap
@pytest.mark.lab(settings={"HIVE_HEALTH_DEADLINE": "60"}, tiny=silent_but_manager)
def test_what_was_sent_to_an_agent_whose_spawn_is_cancelled_is_reported(lab: Lab) -> None:
    lab.post("/api/agents/erin/spawn")
    assert lab.hive("send", "erin", "parked").code == 0
    assert lab.hive("ask", "erin", "which?").code == 0
    assert lab.hive("cancel", "0", "--agent", "erin", "--yes").code == 0
    (event,) = lab.until(lambda: lab.events("message_dead", "erin"))
    assert event["data"]["reason"] == "its spawn failed"
    assert "parked" in lab.hive("dead-letters").out
    assert [each for each in lab.get("/api/questions") if each["target"] == "erin"] == []
