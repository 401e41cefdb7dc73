"""The health gate with the real harness: what misbehaves is rolled back in time, and the old generation is judged too.

Every agent gets its own fault, and the gates run at the same time, so the whole costs little more than one deadline.
The generations that are good run the tiny harness, which is as healthy and starts sooner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from meta.names import AgentName
from tests.support.lab import Lab, alive, fresh_lab

DEADLINE = 2.5
"""Seconds for those that wait it out; a harness needs half of one to say hello, more on a busy machine."""
PATIENCE = 20.0
"""Seconds for those whose fault shows at once."""
SLACK = 5.0
"""Seconds between the verdict and the tag, on a machine that is much too busy."""
FAULTS = {
    "never": ("never-hello", f"no harness connected within {DEADLINE:g} s"),
    "old": ("old-generation", "its hello reports generation 00000000000000000000, launched was "),
    "mute": ("mute", f"the harness sent a hello but never answered a probe within {DEADLINE:g} s"),
    "exits": ("hello-then-exit", "exited with code 7 before it was healthy"),
    "flaps": ("flap", "its link broke 3 times: flapping"),
    "dies": (None, "exited with code 7 before it was healthy"),
}
"""Agent -> the fault in its agent.toml, and the reason that is expected. `dies` ends before it says hello."""

LOGGED = {
    "never": "misbehaving on purpose: never-hello",
    "old": "",  # its first line may come after hive's verdict
    "mute": "misbehaving on purpose: mute",
    "exits": "misbehaving on purpose: hello-then-exit",
    "flaps": "misbehaving on purpose: flap",
    "dies": "ending at the start on purpose",
}
"""What the harness wrote last, which the tag keeps."""

pytestmark = pytest.mark.bwrap


@dataclass(frozen=True)
class Deployed:
    """A hive whose agents all went through a bad deploy: the id, and the agents' rows before."""

    lab: Lab
    ids: dict[str, int]
    before: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def gates() -> Iterator[Deployed]:
    settings = {"HIVE_HEALTH_DEADLINE": f"{PATIENCE:g}", "HIVE_RESYNC": "30", "HIVE_CRASH_LIMIT": "2"}
    with fresh_lab("h", settings, faults=True) as lab:
        lab.spawn(*FAULTS, "spoilt")
        before = lab.agents()
        spoil(lab, "spoilt")
        ids = deploy(lab, {"old", "exits", "flaps", "dies", "spoilt"})
        lab.stop()
        lab.settings["HIVE_HEALTH_DEADLINE"] = f"{DEADLINE:g}"
        lab.start()
        lab.settle()
        yield Deployed(lab, ids | deploy(lab, {"never", "mute"}), before)


def deploy(lab: Lab, agents: set[str]) -> dict[str, int]:
    """Let them all have their faults, and see to the end of it; the ids."""
    ids = {agent: lab.propose(misbehaving(FAULTS.get(agent, (None, ""))[0]), agent) for agent in sorted(agents)}
    for id in ids.values():
        lab.post(f"/api/proposals/{id}/approve")
    for agent in ids:
        lab.settle(agent)
    return ids


def misbehaving(fault: str | None) -> str:
    return "[start]\nexit = 7\n" + (f'fault = "{fault}"\n' if fault else "")


def spoil(lab: Lab, agent: str) -> None:
    """What the agent runs now would not start again."""
    (lab.layout.agent_state(AgentName(agent)) / "exit").write_text("5", encoding="ascii")


@pytest.mark.parametrize("agent", FAULTS)
def test_a_generation_that_does_not_become_healthy_is_rolled_back_in_time(gates: Deployed, agent: str) -> None:
    lab, id, (_, reason) = gates.lab, gates.ids[agent], FAULTS[agent]
    assert lab.card(id)["state"] == "failed"
    assert reason in lab.card(id)["note"]
    told = lab.told(f"failed/{id}", agent)
    assert reason in told
    assert not LOGGED[agent] or LOGGED[agent] in told.partition("its last lines:")[2]
    (bad,) = (event for event in lab.events("agent_started", agent) if event["data"]["deploy"] == id)
    (back,) = lab.events("rollback_started", agent)
    assert back["at"] - bad["at"] < DEADLINE + SLACK
    assert lab.ref("refs/heads/main", agent) == lab.ref("deployed/0", agent)
    assert not {f"deployed/{id}"} & lab.tags(agent)


@pytest.mark.parametrize("agent", FAULTS)
def test_after_the_rollback_the_old_generation_passes_the_same_gate(gates: Deployed, agent: str) -> None:
    lab, now = gates.lab, gates.lab.agent(agent)
    assert (now["phase"], now["generation"]) == ("running", gates.before[agent]["generation"])
    assert now["pid"] != gates.before[agent]["pid"]
    assert (now["deployed"], now["crashes"]) == (0, 0)
    (passed,) = lab.events("rollback_succeeded", agent)
    assert passed["data"] == {"from": gates.ids[agent]}


def test_an_old_generation_that_does_not_pass_either_is_left_alone_with_an_alarm(gates: Deployed) -> None:
    lab = gates.lab
    seen = lab.agent("spoilt")
    assert (seen["phase"], seen["pid"]) == ("rollback-failed", None)
    assert not alive(gates.before["spoilt"]["pid"])
    (alarm,) = lab.events("rollback_failed", "spoilt")
    assert alarm["data"] == {"from": gates.ids["spoilt"], "reason": "exited with code 5"}
    starts = len(lab.events("agent_started", "spoilt"))
    lab.post("/api/reconcile")
    lab.settle("spoilt")
    assert len(lab.events("agent_started", "spoilt")) == starts
    assert lab.events("container_crash", "spoilt") == []


def test_a_good_proposal_ends_the_alarm(gates: Deployed) -> None:
    lab = gates.lab
    (lab.layout.agent_state(AgentName("spoilt")) / "exit").unlink()
    assert lab.deploy('label = "mended"\n', "spoilt")["state"] == "deployed"
    assert lab.agent("spoilt")["phase"] == "running"
