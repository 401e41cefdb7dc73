"""Sub-agents as real processes with runtime `script`, below a harness in the test's own process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from harness.subagents.agents import Agents
from harness.subagents.leases.store import LeaseStore
from harness.subagents.leases.table import Table
from meta.agent_toml.settings import parse_settings
from meta.errors import BadInput, Conflict, HiveError, Refused, TransientError
from meta.wire.link import PodInfo
from meta.wire.pod import Permission, ScopeRule
from tests.harness.inside import Inside, poll
from tests.support.pod_client import pod_client

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive

RULES = """
runtime = "script"
[pods]
max = 2
[[script]]
when = "say (?P<word>.*)"
reply = "{word}"
[[script]]
when = "hang"
sleep = 600
[[script]]
when = "crash"
crash = 3
"""
PROMPT = 10.0


def writes(target: Path) -> list[ScopeRule]:
    return [ScopeRule(target=str(target), permission=Permission.WRITE)]


class Parent:
    """A harness whose sub-agents are real."""

    def __init__(self, inside: Inside, hive: FakeHive) -> None:
        self.inside = inside
        self.hive = hive

    @property
    def agents(self) -> Agents:
        agents = self.inside.own.agents
        assert agents is not None
        return agents

    def info(self, name: str) -> PodInfo | None:
        return next((info for info in self.agents.infos() if info.name == name), None)

    async def until(self, name: str, what: Callable[[PodInfo], object]) -> PodInfo:
        found: list[PodInfo] = []

        def look() -> bool:
            info = self.info(name)
            if info is not None and what(info):
                found.append(info)
            return bool(found)

        await poll(look)
        return found[0]

    def pid(self, name: str) -> int:
        return self.agents._children[name].process.identity.pid


@pytest.fixture
def environment(inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch) -> Inside:
    base = inside.base
    for folder in ("config", "state/work/a", "state/work/b", "pods"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    (base / "config/agent.toml").write_text(RULES, encoding="utf-8")
    variables = {
        "HIVE_AGENT": "alice",
        "HIVE_CONFIG": str(base / "config"),
        "HIVE_RUN": str(base / "run"),
        "HIVE_STATE": str(base / "state"),
        "HIVE_AGENTS": str(base / "agents"),
        "HIVE_PODS": str(base),
        "HIVE_EGRESS": str(base / "egress"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    inside.settings = parse_settings(RULES.encode())
    return inside


@pytest_asyncio.fixture
async def parent(environment: Inside, hive: FakeHive) -> AsyncIterator[Parent]:
    async with environment.start():
        made = Parent(environment, hive)
        yield made
        for name in list(made.agents._children):
            await made.agents.stop(name)


def told(parent: Parent) -> list[str]:
    """Return what the model of the parent was told."""
    return [request.message.body for request in parent.inside.runtime.requests]


async def test_a_sub_agent_does_its_task_and_its_parent_is_told_and_reads_what_it_said(parent: Parent) -> None:
    work = parent.inside.base / "state/work"
    answer = await parent.agents.spawn("worker", "say hello", writes(work / "a"))
    assert "when this turn has ended" in answer
    await parent.until("worker", lambda info: info.result == "finished")
    await poll(lambda: any("worker has done its task" in text for text in told(parent)))
    assert await parent.agents.read("worker") == "hello"
    assert "nothing new" in await parent.agents.read("worker")
    await parent.agents.send("worker", "say again")
    await parent.until("worker", lambda info: info.turn == 2 and info.state == "idle")
    assert await parent.agents.read("worker") == "again"
    assert "worker: idle, turn 2, writes" in await parent.agents.list()
    assert "its scope is yours again" in await parent.agents.stop("worker")
    assert await parent.agents.list() == "there are no pods"
    await poll(lambda: [pod.name for pod in parent.hive.pods[-1].pods] == ["alice"])


async def test_while_a_sub_agent_may_write_its_parent_may_not(parent: Parent) -> None:
    work = parent.inside.base / "state/work"
    assert parent.inside.own.scope() is None
    await parent.agents.spawn("worker", "hang", writes(work / "a"))
    await parent.until("worker", lambda info: info.state == "running" and info.turn)
    scope, delegated = parent.inside.own.scope(), parent.inside.own.delegated()
    assert scope is not None
    assert [rule.target for rule in delegated] == [str((work / "a").resolve())]
    await parent.agents.stop("worker")
    await poll(lambda: parent.inside.own.scope() is None)


async def test_one_that_takes_its_scope_after_its_socket_answers_gets_it_all_the_same(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, looks = parent.agents._leases, iter((False, False, None))
    read = store.read

    def slow_to_show() -> Table:
        table = read()
        match next(looks, True):
            case None:
                raise TransientError("locked")
            case False:
                return Table(tuple(replace(each, adopted=each.pod != "worker") for each in table.allocations))
            case _:
                return table

    monkeypatch.setattr(store, "read", slow_to_show)
    await parent.agents.spawn("worker", "say hello", writes(parent.inside.base / "state/work/a"))
    await parent.until("worker", lambda info: info.result == "finished")


async def test_one_that_only_reads_begins_at_once(parent: Parent) -> None:
    rules = [ScopeRule(target="a", permission=Permission.READ)]
    assert "it begins now" in await parent.agents.spawn("reader", "say hello", rules)
    await parent.until("reader", lambda info: info.result == "finished")
    assert parent.agents.delegated == ()


@pytest.mark.parametrize(
    ("name", "task", "target", "error"),
    [
        ("pod", "x", "a", BadInput),
        ("Bad Name", "x", "a", BadInput),
        ("alice", "x", "a", HiveError),
        ("worker", "", "a", BadInput),
        ("worker", "x", "../../../etc", BadInput),
        ("worker", "x", "a/../../..", BadInput),
        ("worker", "x", "", BadInput),
    ],
)
async def test_what_cannot_be_is_refused_at_once_and_leaves_nothing(
    parent: Parent, name: str, task: str, target: str, error: type[HiveError]
) -> None:
    with pytest.raises(error):
        await parent.agents.spawn(name, task, [ScopeRule(target=target, permission=Permission.WRITE)])
    assert parent.agents.infos() == ()
    table = LeaseStore(parent.inside.base / "state/hyperhive-pods.sqlite").read()
    assert [each.pod for each in table.allocations] == ["alice"]


async def test_an_empty_list_of_rules_a_name_that_exists_an_overlap_and_too_many_are_refused(parent: Parent) -> None:
    work = parent.inside.base / "state/work"
    with pytest.raises(BadInput, match="allow"):
        await parent.agents.spawn("worker", "hang", [])
    await parent.agents.spawn("worker", "hang", writes(work / "a"))
    with pytest.raises(Conflict, match="exists"):
        await parent.agents.spawn("worker", "hang", writes(work / "b"))
    with pytest.raises(Conflict, match="worker"):
        await parent.agents.spawn("other", "hang", writes(work))
    await parent.agents.spawn("other", "hang", writes(work / "b"))
    with pytest.raises(Refused, match=r"pods\.max = 2"):
        await parent.agents.spawn("third", "hang", writes(work / "b"))


@pytest.mark.parametrize("state", ["starting", "running"])
async def test_one_that_is_killed_gives_back_what_it_had_and_its_parent_is_told(parent: Parent, state: str) -> None:
    work = parent.inside.base / "state/work"
    await parent.agents.spawn("worker", "hang", writes(work / "a"))
    if state == "running":
        await parent.until("worker", lambda info: info.state == "running" and info.turn)
    os.kill(parent.pid("worker"), signal.SIGKILL)
    await poll(lambda: parent.info("worker") is None)
    wanted = "ended before its task was done" if state == "running" else "did not start"
    await poll(lambda: any(wanted in text for text in told(parent)))
    assert parent.agents.delegated == ()
    await parent.agents.spawn("worker", "say hello", writes(work))
    await parent.until("worker", lambda info: info.result == "finished")


async def test_one_that_crashes_is_told_with_what_it_wrote(parent: Parent) -> None:
    await parent.agents.spawn("worker", "crash", writes(parent.inside.base / "state/work/a"))
    await poll(lambda: any("worker ended before its task was done" in text for text in told(parent)))


async def test_sub_agents_live_through_a_restart_of_the_harness_and_are_found_again(
    environment: Inside, hive: FakeHive
) -> None:
    parent = Parent(environment, hive)
    work = environment.base / "state/work"
    async with environment.start():
        await parent.agents.spawn("worker", "hang", writes(work / "a"))
        await parent.until("worker", lambda info: info.state == "running" and info.turn)
        await parent.agents.spawn("other", "hang", writes(work / "b"))
        await parent.until("other", lambda info: info.state == "running" and info.turn)
        pid, other = parent.pid("worker"), parent.pid("other")
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    async with environment.start():
        assert parent.pid("worker") == pid
        await parent.until("worker", lambda info: info.state in ("idle", "running"))
        assert [rule.target for rule in parent.agents.delegated] == [str((work / "a").resolve())]
        await poll(lambda: any("other ended while" in text for text in told(parent)))
        async with pod_client(environment.base / "worker.sock") as client:
            await client.send("cancel")
            await client.until_event("run_end")
        await parent.agents.stop("worker")
        assert parent.agents.delegated == ()


async def test_a_sub_agent_is_shut_down_by_any_client_and_reports_it(parent: Parent) -> None:
    await parent.agents.spawn("worker", "say hello", writes(parent.inside.base / "state/work/a"))
    await parent.until("worker", lambda info: info.result == "finished")
    async with asyncio.timeout(PROMPT), pod_client(parent.inside.base / "worker.sock") as client:
        await client.send("shutdown")
        await client.until_event("shutdown")
    await poll(lambda: parent.info("worker") is None)


async def test_a_table_that_was_damaged_is_made_again_with_those_that_live(parent: Parent) -> None:
    work = parent.inside.base / "state/work"
    await parent.agents.spawn("worker", "hang", writes(work / "a"))
    await parent.until("worker", lambda info: info.state == "running" and info.turn)
    table = parent.inside.base / "state/hyperhive-pods.sqlite"
    table.write_bytes(b"no table")
    assert "worker: running" in await parent.agents.list()  # a look finds it empty
    with pytest.raises(Conflict, match="worker"):
        await parent.agents.spawn("other", "hang", writes(work / "a"))
    await parent.agents.spawn("other", "hang", writes(work / "b"))
    await parent.until("other", lambda info: info.state == "running" and info.turn)
    assert [each.pod for each in LeaseStore(table).read().allocations] == ["alice", "worker", "other"]


async def test_one_that_is_never_ready_is_ended_and_gives_back_what_it_had(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.subagents.agents.READY_SECONDS", 0.2)
    monkeypatch.setattr("harness.subagents.process.END_SECONDS", 0.1)
    monkeypatch.setattr(
        "harness.subagents.process.own_command", lambda: ("/bin/sh", "-c", "echo no luck >&2; sleep 60")
    )
    await parent.agents.spawn("worker", "hang", writes(parent.inside.base / "state/work/a"))
    await poll(lambda: any("worker did not start: no luck" in text for text in told(parent)))
    assert (parent.agents.infos(), parent.agents.delegated) == ((), ())


async def test_ten_thousand_reports_of_a_child_at_once_are_one_line_for_each_run_that_was_asked_for(
    parent: Parent,
) -> None:
    await parent.agents.spawn("worker", "say hello", writes(parent.inside.base / "state/work/a"))
    await parent.until("worker", lambda info: info.result == "finished")
    await poll(lambda: any("done its task" in text for text in told(parent)))
    before = len(told(parent))
    kinds = (
        {"kind": "turn_ended", "pod_name": "worker"},
        {"kind": "errored", "pod_name": "worker", "message": "x"},
        {"kind": "turn_ended", "pod_name": "nobody"},
        {"kind": "scope_sub_delegated", "parent_pod": "nobody", "sub_pod": "x", "sub_socket": "/etc/x", "scope": []},
        {"kind": "scope_sub_delegated", "parent_pod": "worker", "sub_pod": "x", "sub_socket": "/etc/x", "scope": []},
    )
    async with asyncio.timeout(60), pod_client(parent.inside.base / "pod.sock") as client:
        for kind in kinds:
            line = json.dumps({"method": "pod_event", "params": kind}).encode() + b"\n"
            await client.raw(line * 2_000)
        assert (await client.ask("get_history"))["event"] == "history"
    assert len(told(parent)) == before
    assert [info.name for info in parent.agents.infos()] == ["worker"]
