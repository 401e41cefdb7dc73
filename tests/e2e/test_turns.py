"""What an operator does about turns: a pause that outlasts everything but its resume, and the model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from meta.names import AgentName
from reconciler.plan.observed import Launch
from tests.support.lab import Lab

HARNESS = (Path(__file__).parents[1] / "support" / "held_harness.py").read_text(encoding="utf-8")


def command(_agent: AgentName, _launch: Launch) -> Sequence[str]:
    return (sys.executable, "-I", "-S", "-c", HARNESS)


pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice",), tiny=command)]


def taken(lab: Lab) -> list[str]:
    file = lab.layout.agent_state(AgentName("alice")) / "taken"
    return file.read_text(encoding="utf-8").split() if file.exists() else []


def test_a_pause_outlasts_the_daemon_a_restart_and_a_deploy_and_no_message_is_taken_before_the_resume(lab: Lab) -> None:
    lab.post("/api/messages", to="alice", body="stay")
    lab.until(lambda: lab.agent()["turn"] == "thinking")
    paused = lab.hive("turn", "pause", "alice")
    assert (paused.code, paused.out) == (0, "alice is paused: it takes no turn until `hive turn resume alice`\n")
    assert lab.hive("turn", "pause", "alice").code == 0
    row = lab.agent()
    assert (row["phase"], row["turn"], row["paused"]) == ("paused", "paused", True)
    lab.post("/api/messages", to="alice", body="later")
    lab.kill()
    lab.start()
    lab.until(lambda: lab.agent()["phase"] == "paused")
    assert lab.hive("restart", "alice", "--wait").code == 0
    assert lab.agent()["phase"] == "paused"
    assert lab.deploy('label = "new"\n')["state"] == "deployed"
    assert lab.agent()["phase"] == "paused"
    assert "`hive turn resume alice`" in lab.hive("plan").out
    assert taken(lab) == ["stay"]
    resumed = lab.hive("turn", "resume", "alice")
    assert resumed.out == "alice is resumed: it takes turns again\n"
    lab.until(lambda: "later" in taken(lab))
    assert lab.agent()["phase"] == "running"
    (pause,), (resume,) = lab.events("agent_paused"), lab.events("agent_resumed")
    assert pause["data"]["by"] == resume["data"]["by"]
    assert pause["data"]["by"].startswith("operator uid ")


def test_a_stopped_agent_is_paused_for_its_next_start_and_a_destroyed_one_leaves_no_pause(lab: Lab) -> None:
    lab.spawn("bob")
    lab.do("bob", "stop")
    assert lab.hive("turn", "pause", "bob").out == (
        "bob is paused: it does not run; once it is started, it takes no turn\n"
    )
    lab.do("bob", "start")
    lab.until(lambda: lab.agent("bob")["phase"] == "paused")
    lab.do("bob", "destroy", purge=True)
    lab.spawn("bob")
    assert not lab.agent("bob")["paused"]


def test_the_model_is_set_over_the_link_and_status_says_what_it_hides(lab: Lab) -> None:
    lab.deploy('label = "x"\nmodel = "opus"\n')
    lab.until(lambda: lab.agent()["runtime"] == "claude")
    assert lab.hive("model", "alice", "sonnet").out == "alice has its model set: the model sonnet\n"
    lab.until(lambda: lab.agent()["model_override"] == "sonnet")
    row = lab.agent()
    assert (row["program"], row["model"], row["model_hidden"]) == ("2.1.329", "sonnet", "opus")
    assert "the model sonnet that you set hides opus of agent.toml" in lab.hive("status").out
    assert lab.events("model_set")[-1]["data"]["model"] == "sonnet"
    wrong = lab.hive("model", "alice", "opus --dangerous")
    assert (wrong.code, "is no name of a model" in wrong.err) == (2, True)


def test_what_a_harness_refuses_is_an_error_in_its_words_and_no_event(lab: Lab) -> None:
    refused = lab.hive("turn", "cancel", "alice")
    assert refused.code != 0
    assert refused.err.startswith("hive: alice: there is no turn\n")
    assert not lab.events("turn_cancelled")
