"""A real agent with a real sub-agent: both are claude, and the kernel keeps each out of what the other may write."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from meta.names import AgentName
from tests.support.fake_messages import Step
from tests.support.lab import Lab
from tests.support.real_agents import ALICE, REAL, Model, harness_of, operator_has, plan, send, send_message, state_is

pytestmark = REAL

WORK = "/state/work"


@pytest.fixture
def with_pods(lab: Lab, fake: Model) -> Iterator[Lab]:
    """Let alice have two sub-agents, for this test."""
    assert lab.deploy(f"{ALICE}[pods]\nmax = 2\n")["state"] == "deployed", lab.tail()
    state_is(lab, "alice", "running")
    yield lab
    assert lab.deploy(ALICE)["state"] == "deployed", lab.tail()
    state_is(lab, "alice", "running")


def shell(command: str) -> Step:
    return {"tool": "Bash", "input": {"command": command, "description": "a command"}}


def pods(tool: str, **arguments: object) -> Step:
    return {"tool": f"mcp__pods__{tool}", "input": arguments}


def turn(lab: Lab, name: str, *steps: Step) -> None:
    """Have a turn of alice with these steps, and wait for its end."""
    send_message(lab, "alice", plan(*steps, send("operator", f"the end of {name}"), {"text": "ok"}))
    operator_has(lab, f"the end of {name}")


def test_a_sub_agent_writes_what_was_lent_to_it_and_its_parent_does_not_until_it_ends(
    with_pods: Lab, fake: Model
) -> None:
    lab = with_pods
    task = plan(
        shell(f"echo one > {WORK}/lent/file; echo two > {WORK}/kept/file; true"),
        shell(f"ln {WORK}/kept/old {WORK}/lent/link; mv {WORK}/lent/file {WORK}/kept/moved; true"),
        {"text": "the worker is done"},
    )
    scope = [{"target": "lent", "permission": "write"}, {"target": "kept", "permission": "read"}]
    turn(
        lab,
        "the spawn",
        shell(f"mkdir -p {WORK}/lent {WORK}/kept; echo old > {WORK}/kept/old"),
        pods("spawn_pod", name="worker", task=task, scope=scope),
        shell(f"echo early > {WORK}/lent/early"),
    )
    folder = lab.layout.agent_state(AgentName("alice")) / "work"
    lab.until(lambda: (folder / "lent/file").exists() and fake.turns("worker has done its task"))
    assert sorted(path.name for path in (folder / "lent").iterdir()) == ["early", "file"]
    assert sorted(path.name for path in (folder / "kept").iterdir()) == ["old"]

    turn(
        lab,
        "the look",
        pods("list_pods"),
        pods("read_pod_output", name="worker"),
        shell(f"echo three > {WORK}/lent/three; echo four > {WORK}/kept/four; ln -s {WORK}/lent {WORK}/kept/way"),
        shell(f"echo five > {WORK}/kept/way/five; echo six > /proc/self/root{WORK}/lent/six; true"),
    )
    shown = json.dumps(fake.results("the look"))
    assert "worker: idle" in shown
    assert "the worker is done" in shown
    assert sorted(path.name for path in (folder / "lent").iterdir()) == ["early", "file"]
    assert (folder / "kept/four").exists()

    harness = harness_of(lab, "alice")
    os.kill(harness, signal.SIGKILL)
    lab.until(lambda: harness_of(lab, "alice") != harness)
    turn(lab, "the crash", pods("list_pods"), shell(f"echo eight > {WORK}/lent/eight; true"))
    assert "worker: idle" in json.dumps(fake.results("the crash"))
    assert not (folder / "lent/eight").exists()

    turn(lab, "the stop", pods("stop_pod", name="worker"))
    turn(lab, "the return", shell(f"echo seven > {WORK}/lent/seven"))
    assert (folder / "lent/seven").exists()
