"""Pods further below: a sub-agent of a sub-agent, each a real process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from harness.pod.requests import write_first_run
from harness.subagents.leases.store import LeaseStore
from harness.subagents.process import PodProcess, start_pod
from meta.scope.rules import Rule
from meta.wire.pod import Permission
from tests.harness.inside import Inside, poll
from tests.harness.subagents.test_agents import Parent, environment, parent, told, writes
from tests.support.pod_client import pod_client

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive

__all__ = ["environment", "parent"]


def table(inside: Inside) -> LeaseStore:
    return LeaseStore(inside.base / "state/hyperhive-pods.sqlite")


def recorded(inside: Inside) -> list[str]:
    return [each["pod_name"] for each in json.loads((inside.base / "state/spawned_pods.json").read_text())]


async def spawn_below(parent: Parent, above: str, name: str, task: str, folder: Path) -> PodProcess:
    """Do what the sub-agent `above` does when its model spawns one, without its report."""
    inside, home = parent.inside, parent.agents._home
    rules = [Rule(str(folder.resolve()), Permission.WRITE)]
    table(inside).reserve(name, above, str(inside.base / f"{name}.sock"), rules)
    own = inside.base / "state/pods" / above / "pods" / name
    own.mkdir(parents=True)
    assert write_first_run(own, task) is None
    place = {"HIVE_OWN": str(own), "HIVE_POD_CWD": str(folder), "HIVE_POD_CALLBACK": str(inside.base / f"{above}.sock")}
    process = start_pod(name, {**home.env, **place}, own / "stderr.log")
    await poll(lambda: table(inside).read().get(name).adopted)
    table(inside).hold(name)
    return process


async def with_grandchild(parent: Parent) -> PodProcess:
    work = parent.inside.base / "state/work"
    (work / "a/deep").mkdir()
    await parent.agents.spawn("worker", "hang", writes(work / "a"))
    await parent.until("worker", lambda info: info.state == "running" and info.turn)
    return await spawn_below(parent, "worker", "grand", "say hello", work / "a/deep")


async def test_a_pod_further_below_is_seen_by_the_table_without_a_report_until_it_ends(parent: Parent) -> None:
    process = await with_grandchild(parent)
    assert "grand: " in await parent.agents.list()
    info = await parent.until("grand", lambda info: info.result == "finished")
    work = (parent.inside.base / "state/work").resolve()
    assert (info.parent, info.scope, info.state, info.turn) == ("worker", f"writes {work / 'a/deep'}", "idle", 1)
    assert "grand: idle, turn 1" in await parent.agents.list()
    assert "below worker" in await parent.agents.list()
    await poll(lambda: recorded(parent.inside) == ["worker", "grand"])
    assert [each.name for each in parent.hive.pods[-1].pods] == ["alice", "worker", "grand"]
    await process.end()
    process.close()
    await poll(lambda: parent.info("grand") is None)
    assert recorded(parent.inside) == ["worker"]


async def test_one_whose_parent_ends_comes_under_the_pod_above_it_which_can_stop_it(parent: Parent) -> None:
    process = await with_grandchild(parent)
    os.kill(parent.pid("worker"), signal.SIGKILL)
    info = await parent.until("grand", lambda info: info.parent == "alice")
    deep = (parent.inside.base / "state/work/a/deep").resolve()
    assert info.scope == f"writes {deep}"
    assert [rule.target for rule in parent.agents.delegated] == [str(deep)]
    assert recorded(parent.inside) == ["grand"]
    assert "its scope is yours again" in await parent.agents.stop("grand")
    await process.wait()
    process.close()
    assert (parent.agents.infos(), parent.agents.delegated) == ((), ())


async def test_one_further_below_is_found_again_after_a_restart_of_the_harness(
    environment: Inside, hive: FakeHive
) -> None:
    parent = Parent(environment, hive)
    async with environment.start():
        process = await with_grandchild(parent)
    async with environment.start():
        await parent.until("grand", lambda info: info.state in ("idle", "running"))
        assert [(info.name, info.parent) for info in parent.agents.infos()] == [
            ("worker", "alice"),
            ("grand", "worker"),
        ]
        await parent.agents.stop("grand")
        await process.wait()
        process.close()
        await poll(lambda: parent.info("grand") is None)
        await parent.agents.stop("worker")
    assert not any("ended while" in text for text in told(parent))


async def test_its_end_is_told_to_its_new_parent(parent: Parent) -> None:
    process = await with_grandchild(parent)
    await poll(lambda: (parent.inside.base / "grand.sock").exists())
    os.kill(parent.pid("worker"), signal.SIGKILL)
    await parent.until("grand", lambda info: info.parent == "alice")
    async with pod_client(parent.inside.base / "grand.sock") as client:
        await client.send("shutdown")
        await client.until_event("shutdown")
    await process.wait()
    process.close()
    await poll(lambda: any("the pod grand ended before its task was done" in text for text in told(parent)))
