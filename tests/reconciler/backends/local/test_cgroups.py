"""Control groups: where hive makes them, what it writes into them, what it says where it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.model import Limits
from meta.names import AgentName
from reconciler.backends.local import cgroups
from reconciler.backends.local.cgroups import Hierarchy, detect, settings_of

ALICE = AgentName("alice")
OWNER = "0123456789abcdef"
ALL = frozenset({"memory", "pids", "cpu"})


def mount(kind: str, path: Path, root: str = "/", options: str = "rw") -> str:
    """One line of mountinfo."""
    return f"30 25 0:26 {root} {path} rw,nosuid - {kind} {kind} {options}\n"


def unified(path: Path, controllers: str = "cpu memory pids", passed_on: str = "") -> Path:
    """A directory that looks like a version 2 group."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(passed_on)
    (path / "cgroup.procs").touch()
    return path


def test_version_2_is_found_where_the_controllers_are(tmp_path: Path) -> None:
    unified(tmp_path)
    found = detect(OWNER, mount("cgroup2", tmp_path), "0::/\n")
    assert found.hierarchies == (Hierarchy(2, tmp_path, ALL),)
    assert found.summary == "memory, pids, cpu enforced (cgroup v2)"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_version_2_uses_an_ancestor_where_the_own_group_offers_nothing(tmp_path: Path) -> None:
    unified(tmp_path, passed_on="cpu memory pids")
    unified(tmp_path / "session", controllers="")
    found = detect(OWNER, mount("cgroup2", tmp_path), "0::/session\n")
    assert [each.base for each in found.hierarchies] == [tmp_path]


def test_version_2_without_controllers_is_said_not_to_be_enforced(tmp_path: Path) -> None:
    unified(tmp_path, controllers="hugetlb")
    found = detect(OWNER, mount("cgroup2", tmp_path), "0::/\n")
    assert found.summary.startswith("not enforced: ")


def test_a_missing_controller_is_named(tmp_path: Path) -> None:
    unified(tmp_path, controllers="memory pids")
    found = detect(OWNER, mount("cgroup2", tmp_path), "0::/\n")
    assert found.summary == "memory, pids enforced (cgroup v2); not enforced: cpu"


def test_version_1_takes_the_own_group_in_each_hierarchy(tmp_path: Path) -> None:
    for name in ("memory", "pids", "cpu,cpuacct"):
        (tmp_path / name / "own").mkdir(parents=True)
    lines = [mount("cgroup", tmp_path / name, options=f"rw,{name}") for name in ("memory", "pids", "cpu,cpuacct")]
    own = "4:memory:/own\n3:pids:/own\n2:cpu,cpuacct:/own\n1:name=systemd:/own\n"
    found = detect(OWNER, "".join(lines), own)
    assert {(each.version, each.base.parent.name) for each in found.hierarchies} == {
        (1, "memory"),
        (1, "pids"),
        (1, "cpu,cpuacct"),
    }
    assert found.summary == "memory, pids, cpu enforced (cgroup v1)"


def test_a_mount_of_a_part_of_the_hierarchy_is_seen_from_that_part(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    found = detect(OWNER, mount("cgroup", tmp_path, root="/box", options="rw,memory"), "4:memory:/box/inner\n")
    assert [each.base for each in found.hierarchies] == [tmp_path / "inner"]


def test_version_2_with_controllers_wins_over_version_1(tmp_path: Path) -> None:
    unified(tmp_path / "unified")
    (tmp_path / "memory").mkdir()
    lines = mount("cgroup", tmp_path / "memory", options="rw,memory") + mount("cgroup2", tmp_path / "unified")
    found = detect(OWNER, lines, "4:memory:/\n0::/\n")
    assert {each.version for each in found.hierarchies} == {2}


def test_in_a_hybrid_hierarchy_the_controllers_of_version_1_are_used(tmp_path: Path) -> None:
    unified(tmp_path / "unified", controllers="hugetlb")
    (tmp_path / "memory").mkdir()
    lines = mount("cgroup2", tmp_path / "unified") + mount("cgroup", tmp_path / "memory", options="rw,memory")
    found = detect(OWNER, lines, "4:memory:/\n0::/\n")
    assert found.summary == "memory enforced (cgroup v1); not enforced: pids, cpu"


def test_without_any_hierarchy_it_says_so() -> None:
    assert detect(OWNER, "", "").summary == "not enforced: no cgroup hierarchy is mounted"


def test_a_hierarchy_that_may_not_be_written_is_said_not_to_be_enforced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr("reconciler.backends.local.cgroups.os.access", lambda path, mode: False)
    found = detect(OWNER, mount("cgroup", tmp_path / "memory", options="rw,memory"), "4:memory:/\n")
    assert found.summary == "not enforced: hive may not write a cgroup here"


def test_prepare_on_version_2_passes_controllers_on_and_writes_every_limit(tmp_path: Path) -> None:
    unified(tmp_path, passed_on="cpu memory pids")
    found = detect(OWNER, mount("cgroup2", tmp_path), "0::/\n")
    group = unified(tmp_path / found.group)
    unified(group / ALICE)
    joins = found.prepare(ALICE, Limits(memory_mib=64, pids=10, cpu_percent=50))
    assert joins == [group / ALICE / "cgroup.procs"]
    assert (group / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    written = {name: (group / ALICE / name).read_text() for name in ("memory.max", "pids.max", "cpu.max")}
    assert written == {"memory.max": "67108864", "pids.max": "10", "cpu.max": "50000 100000"}


def test_no_limit_is_written_as_such_because_the_group_may_be_an_older_one(tmp_path: Path) -> None:
    none = Limits(memory_mib=None, pids=None, cpu_percent=None)
    assert dict(settings_of(Hierarchy(2, tmp_path, ALL), none)) == {
        "memory.max": "max",
        "memory.swap.max": "max",
        "pids.max": "max",
        "cpu.max": "max 100000",
    }
    assert dict(settings_of(Hierarchy(1, tmp_path, ALL), none)) == {
        "memory.limit_in_bytes": "-1",
        "pids.max": "max",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "-1",
    }


def test_remove_of_groups_that_are_not_there_is_done(tmp_path: Path) -> None:
    assert cgroups.remove({tmp_path / "hive-x" / "alice"})


def test_remove_takes_hives_own_directory_with_the_last_agent(tmp_path: Path) -> None:
    for agent in ("alice", "bob"):
        (tmp_path / "hive-x" / agent).mkdir(parents=True)
    assert cgroups.remove({tmp_path / "hive-x" / "alice"})
    assert (tmp_path / "hive-x").exists()
    assert cgroups.remove({tmp_path / "hive-x" / "bob"})
    assert not (tmp_path / "hive-x").exists()


def test_on_this_host_the_limits_that_are_said_to_be_enforced_are_in_the_kernel() -> None:
    found = detect("test-" + OWNER)
    if not found.hierarchies:
        pytest.skip(f"limits are {found.summary}")
    joins = found.prepare(ALICE, Limits(memory_mib=64, pids=10, cpu_percent=50))
    try:
        limits = [join.parent / "pids.max" for join in joins if (join.parent / "pids.max").exists()]
        assert [path.read_text().strip() for path in limits] == ["10"]
    finally:
        assert cgroups.remove(found.directories(ALICE))
