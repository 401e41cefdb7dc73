"""Locks that a killed git left are removed from push repos and from hive's own, unless a process may need them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from meta.config import Config
from meta.git import stale_locks
from meta.layout import Layout
from meta.names import AgentName
from meta.proposed import push_repo
from reconciler.upkeep.stale_locks import StaleLocks

ALICE = AgentName("alice")
NOW = 2e9


class Hive:
    """Alice's push repo and two of hive's own repos, with the events that were appended."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.events: list[tuple[str, AgentName | None, Mapping[str, object]]] = []
        self.locks = StaleLocks(layout, lambda: [ALICE], self.append)
        layout.push_repos.mkdir(parents=True)
        push_repo.create(layout, ALICE, Config())
        for path in (layout.meta_git, layout.applied_git(ALICE)):
            for folder in ("refs/heads", "objects/info", "objects/pack", "objects/aa"):
                (path / folder).mkdir(parents=True)

    async def append(self, kind: str, agent: AgentName | None, data: Mapping[str, object]) -> None:
        self.events.append((kind, agent, data))

    def leave(self, repo: Path, name: str, age: float = stale_locks.STALE + 1) -> Path:
        path = repo / name
        path.touch()
        os.utime(path, (NOW - age, NOW - age))
        return path


@pytest.fixture
def hive(tmp_path: Path) -> Hive:
    return Hive(Layout(tmp_path / "s", tmp_path / "r"))


@pytest.mark.parametrize(
    "name",
    [
        "packed-refs.lock",
        "packed-refs.new",
        "config.lock",
        "HEAD.lock",
        "shallow.lock",
        "refs/heads/main.lock",
        "objects/maintenance.lock",
        "objects/info/commit-graph.lock",
        "objects/pack/multi-pack-index.lock",
    ],
)
async def test_a_stale_lock_is_named_at_the_first_look_and_removed_at_the_second(hive: Hive, name: str) -> None:
    repos = [hive.layout.meta_git, hive.layout.applied_git(ALICE), hive.layout.push_repo(ALICE)]
    locks = [hive.leave(repo, name) for repo in repos]
    await hive.locks.look(NOW)
    assert [path.exists() for path in locks] == [True] * 3
    assert [len(hive.locks.conditions(agent)) for agent in (None, ALICE)] == [1, 2]
    await hive.locks.look(NOW)
    assert [path.exists() for path in locks] == [False] * 3
    assert hive.locks.conditions(ALICE) == ()
    assert [(kind, agent, data["locks"]) for kind, agent, data in hive.events] == [
        ("stale_lock_removed", agent, [name]) for agent in (None, ALICE, ALICE)
    ]
    await hive.locks.look(NOW)
    assert len(hive.events) == 3


async def test_a_young_lock_and_one_that_is_made_again_stay(hive: Hive) -> None:
    push = hive.layout.push_repo(ALICE)
    young = hive.leave(push, "HEAD.lock", stale_locks.STALE - 1)
    lock = hive.leave(push, "packed-refs.lock")
    await hive.locks.look(NOW)
    lock.unlink()
    hive.leave(push, "packed-refs.lock", stale_locks.STALE + 2)
    await hive.locks.look(NOW)
    assert lock.exists()
    assert young.exists()
    assert hive.events == []


async def test_a_lock_that_a_process_has_open_stays_until_that_ends(hive: Hive) -> None:
    lock = hive.leave(hive.layout.push_repo(ALICE), "packed-refs.lock")
    await hive.locks.look(NOW)
    with lock.open("rb") as file, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file, cwd="/") as process:
        file.close()
        await hive.locks.look(NOW)
        assert lock.exists()
        process.communicate()
    await hive.locks.look(NOW)
    assert not lock.exists()


@pytest.mark.parametrize("how", ["option", "environment", "relative", "below", "work tree"])
async def test_a_lock_stays_while_a_git_that_was_started_elsewhere_holds_it(hive: Hive, how: str) -> None:
    repo = hive.layout.applied_git(ALICE)
    (repo / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")
    begin: dict[str, tuple[list[str], str | Path, dict[str, str]]] = {
        "option": ([f"--git-dir={repo}"], "/", {}),
        "environment": ([], "/", {"GIT_DIR": str(repo)}),
        "relative": (["--git-dir", "alice/.git"], repo.parents[1], {}),
        "below": ([], repo / "objects/pack", {}),
        "work tree": ([], repo.parent, {}),
    }
    options, cwd, settings = begin[how]
    command = ["git", "-c", "safe.directory=*", *options, "update-ref", "--stdin"]
    environment = {**os.environ, "LC_ALL": "C", **settings}
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"start\nupdate HEAD {'0' * 40} {'0' * 40}\nprepare\n")
        assert process.stdout.readline() == "start: ok\n"
        assert process.stdout.readline() == "prepare: ok\n"
        (lock, *_) = [hive.leave(repo, str(path.relative_to(repo))) for path in repo.rglob("*.lock")]
        for _ in range(2):
            await hive.locks.look(NOW)
        assert lock.exists()
        process.kill()
    await hive.locks.look(NOW)
    assert not lock.exists()


async def test_a_lock_of_another_user_is_only_named_if_hive_may_not_see_its_processes(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = hive.leave(hive.layout.push_repo(ALICE), "packed-refs.lock")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for _ in range(2):
        await hive.locks.look(NOW)
    assert lock.exists()
    (condition,) = hive.locks.conditions(ALICE)
    assert f"it is of uid {os.getuid()}, whose processes hive does not see from here" in condition
    assert "was left alone" in stale_locks.remove(hive.layout.push_repo(ALICE), lock, NOW, Path("/proc"))


def test_in_a_container_the_lock_of_another_user_is_foreign_also_to_root(tmp_path: Path) -> None:
    lock = stale_locks.Lock(tmp_path / "x.lock", (0, 0), 0.0, os.geteuid() + 1)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").touch()
    assert stale_locks.is_foreign(lock, tmp_path)
    assert not stale_locks.is_foreign(replace(lock, uid=os.geteuid()), tmp_path)


async def test_what_is_no_file_is_left_alone_and_a_lock_behind_a_symlink_too(hive: Hive, tmp_path: Path) -> None:
    push = hive.layout.push_repo(ALICE)
    (tmp_path / "elsewhere").mkdir()
    outside = hive.leave(tmp_path / "elsewhere", "x.lock")
    (push / "refs/heads/link").symlink_to(tmp_path / "elsewhere")
    (push / "refs/heads/a.lock").symlink_to(outside)
    (push / "refs/heads/d.lock").mkdir()
    for _ in range(2):
        await hive.locks.look(NOW)
    assert outside.exists()
    assert hive.events == []


async def test_a_lock_that_cannot_be_removed_is_named_with_its_owner(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    hive.leave(hive.layout.push_repo(ALICE), "packed-refs.lock")

    def refuse(*_: object) -> str:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(stale_locks, "remove", refuse)
    for _ in range(2):
        await hive.locks.look(NOW)
    (condition,) = hive.locks.conditions(ALICE)
    assert f"cannot be removed (Operation not permitted); remove it as uid {os.geteuid()}" in condition
