"""Meta alone is restored from a backup: nobody is restarted by it, and what is asked for afterwards is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli.client.exit_codes import Code
from meta.names import AgentName
from tests.support.lab import Lab

NAMES = ("alice", "bob", "manager")


def done(lab: Lab, *words: str) -> str:
    said = lab.hive(*words)
    assert said.code == Code.OK, said
    return said.out


def restore(lab: Lab, file: Path) -> None:
    """While no daemon runs and the agents go on; the daemon that follows is another hive."""
    before = pids(lab)
    lab.kill()
    done(lab, "restore", str(file), "--only", "meta", "--yes")
    lab.settings["HIVE_REVISION"] = "2"
    lab.start()
    lab.settle()
    assert pids(lab) == before, "a counter that went back asks for nothing"


def pids(lab: Lab) -> dict[str, int]:
    return {name: row["pid"] for name, row in lab.agents().items()}


def built_with(lab: Lab) -> set[str]:
    roots = [root for name in NAMES for root in lab.layout.roots(AgentName(name)).glob("*.json")]
    return {str(json.loads(root.read_text(encoding="utf-8"))["revision"]) for root in roots}


def restore_after_rebuilds(lab: Lab) -> None:
    """Rebuild and restart every agent, then restore meta from a backup of before."""
    file = lab.directory / "b.tar.gz"
    done(lab, "backup", str(file))
    for _ in range(2):
        done(lab, "rebuild", "--all", "--wait")
    lab.do("alice", "restart")
    restore(lab, file)


pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(
        agents=("alice", "bob"), settings={"HIVE_REVISION": "1"}, fresh=True, prepare=restore_after_rebuilds
    ),
]


def test_all_are_rebuilt_with_the_present_hive(lab: Lab) -> None:
    before = pids(lab)
    assert done(lab, "rebuild", "--all", "--stale", "--wait") == "3 agents rebuilt\n"
    assert built_with(lab) == {"2"}
    assert lab.get("/api/status")["rollout"] is None
    after = pids(lab)
    assert all(after[name] != before[name] for name in NAMES)
    assert all(row["built_with"] is None for row in lab.agents().values())


def test_one_is_restarted_and_rebuilt_when_that_is_asked_for(lab: Lab) -> None:
    first = lab.agent()["pid"]
    lab.do("alice", "restart")
    second = lab.agent()["pid"]
    assert second != first
    lab.do("alice", "rebuild")
    assert lab.agent()["pid"] != second
    assert lab.agent()["built_with"] is None
