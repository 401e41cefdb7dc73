"""Agents that another hive built: said so once, rebuilt wave by wave, the first failure ends it, a kill does not."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from api.cli.client.exit_codes import Code
from meta.names import AgentName
from tests.support.lab import Lab

NAMES = ("alice", "bob", "carol")


def upgrade(lab: Lab, revision: str = "2", **settings: str) -> None:
    lab.stop()
    lab.settings |= {"HIVE_REVISION": revision, **settings}
    lab.start()
    lab.settle()


def pids(lab: Lab) -> dict[str, int]:
    return {name: row["pid"] for name, row in lab.agents().items()}


def built_with(lab: Lab, name: str) -> str:
    (root,) = lab.layout.roots(AgentName(name)).glob("*.json")
    return str(json.loads(root.read_text(encoding="utf-8"))["revision"])


def rollout(lab: Lab) -> dict[str, Any] | None:
    found = lab.get("/api/status")["rollout"]
    return None if found is None else dict(found)


def break_repo(lab: Lab, name: str) -> None:
    """The blob of its agent.toml is gone, so that it cannot be built again."""
    blob = lab.git(lab.applied(name), "rev-parse", "main:agent.toml")
    loose = lab.applied(name) / "objects" / blob[:2] / blob[2:]
    loose.rename(loose.with_name("lost"))


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(
        agents=NAMES, settings={"HIVE_REVISION": "1", "HIVE_REBUILD_WAVE": "2"}, fresh=True, prepare=upgrade
    ),
]


def test_what_another_hive_built_is_told_once_and_shown_until_it_is_rebuilt(lab: Lab) -> None:
    told = "built with hive 1, this is 2; `hive rebuild alice` builds it again"
    assert told in lab.agent()["conditions"]
    assert f"alice: {told}" in lab.hive("status").out
    assert [each["data"] for each in lab.events("agent_needs_update", "alice")] == [
        {"built_with": "1", "revision": "2"}
    ]
    upgrade(lab)
    assert len(lab.events("agent_needs_update", "alice")) == 1, "once per revision"
    lab.do("alice", "rebuild")
    row = lab.agent()
    assert (row["conditions"], row["built_with"], row["phase"]) == ([], None, "running")
    assert built_with(lab, "alice") == "2"


def test_all_are_rebuilt_and_stopped_agents_stay_stopped(lab: Lab) -> None:
    lab.do("bob", "stop")
    before = pids(lab)
    said = lab.hive("rebuild", "--all", "--wait")
    assert (said.code, said.out) == (Code.OK, "4 agents rebuilt\n"), said.err
    after = pids(lab)
    assert all(after[name] != before[name] for name in ("alice", "carol", "manager"))
    assert lab.agent("bob")["phase"] == "stopped"
    assert {built_with(lab, name) for name in (*NAMES, "manager")} == {"2"}
    (ended,) = lab.events("rebuild_all_ended")
    assert (ended["data"]["failed"], len(ended["data"]["done"])) == (None, 4)
    again = lab.hive("rebuild", "--all", "--stale")
    assert again.code == Code.NOT_FOUND
    assert "no agent is outdated" in again.err


def test_the_first_failure_ends_it_and_those_not_begun_are_left_and_named(lab: Lab) -> None:
    before = pids(lab)
    break_repo(lab, "bob")
    said = lab.hive("rebuild", "--all", "--stale", "--wait")
    assert said.code == Code.FAILED, said
    assert "bob failed" in said.err
    assert "left as they were: carol, manager" in said.err
    assert (rollout(lab) or {})["waiting"] == ["carol", "manager"]
    assert "left as they were: carol, manager" in lab.hive("status").out
    after = pids(lab)
    assert {name: after[name] for name in ("carol", "manager")} == {name: before[name] for name in ("carol", "manager")}
    assert after["bob"] == before["bob"], "what cannot be built goes on as it was"


def test_an_agent_that_does_not_come_up_healthy_ends_it(lab: Lab) -> None:
    upgrade(lab, HIVE_HEALTH_STABLE="3", HIVE_HEALTH_DEADLINE="20")
    before = pids(lab)
    lab.post("/api/rebuild-all", only_stale=True)
    pid = lab.until(lambda: next((pid for pid in [lab.agent("bob")["pid"]] if pid not in (None, before["bob"])), None))
    os.kill(pid, signal.SIGKILL)
    lab.until(lambda: lab.events("rebuild_all_ended"))
    found = rollout(lab) or {}
    assert (found["failed"], found["waiting"]) == ("bob", ["carol", "manager"])
    assert "did not come up healthy" in found["reason"]
    lab.settle()
    assert lab.agent("bob")["phase"] == "running", "it is started again all the same"
    assert pids(lab)["carol"] == before["carol"]


def test_a_daemon_that_is_killed_goes_on_with_it(lab: Lab) -> None:
    lab.arm("begin-wave:after")
    said = lab.hive("rebuild", "--all")
    assert said.code in (Code.OK, Code.UNREACHABLE, Code.FAILED), said
    lab.died()
    lab.start()
    lab.settle()
    assert {built_with(lab, name) for name in (*NAMES, "manager")} == {"2"}
    assert rollout(lab) is None


def test_a_second_one_is_refused_while_one_is_under_way(lab: Lab) -> None:
    lab.post("/api/rebuild-all")
    (plan,) = lab.get("/api/plan", agent="manager")
    assert plan["conditions"][-1] == "waits for its turn in `hive rebuild --all`"
    said = lab.hive("rebuild", "--all")
    assert said.code == Code.CONFLICT, said
    lab.settle()


@pytest.mark.parametrize("mode", [pytest.param("idle", marks=pytest.mark.full), "all"])
def test_what_is_outdated_is_rebuilt_by_itself_where_that_is_set(lab: Lab, mode: str) -> None:
    upgrade(lab, "3", HIVE_AUTO_UPDATE=mode)
    lab.until(lambda: any(event["data"]["by"] == "hive" for event in lab.events("rebuild_all_ended")))
    assert {built_with(lab, name) for name in (*NAMES, "manager")} == {"3"}
    assert len(lab.events("rebuild_all_started")) == 1
