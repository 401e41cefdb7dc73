"""The push repo: who may write what in it, and that a push to it works."""

from __future__ import annotations

import grp
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.config import Config
from meta.errors import PermanentError, Refused
from meta.layout import Layout
from meta.names import AgentName
from meta.proposed import push_repo

ALICE = AgentName("alice")
Git = Callable[..., str]
GROUP = grp.getgrgid(os.getegid()).gr_name
CONFIG = Config(push_group=GROUP)


@pytest.fixture
def parent(layout: Layout) -> Path:
    """`push`."""
    made = layout.push_repos
    made.mkdir(parents=True)
    return made


@pytest.fixture
def clone(tmp_path: Path, git: Git) -> Path:
    """A repo with one commit."""
    made = tmp_path / "clone"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    git(made, "commit", "-q", "--allow-empty", "-m", "first")
    return made


def test_a_person_can_push_force_push_and_delete(layout: Layout, parent: Path, clone: Path, git: Git) -> None:
    push_repo.create(layout, ALICE, CONFIG)
    repo = str(push_repo.path_of(layout, ALICE))
    git(clone, "push", "-q", repo, "HEAD:main", "HEAD:a/b/c")
    git(clone, "commit", "-q", "--amend", "--allow-empty", "-m", "second")
    git(clone, "push", "-q", "-f", repo, "HEAD:main", ":a/b/c")
    assert git(clone, "ls-remote", "--heads", repo) == f"{git(clone, 'rev-parse', 'HEAD')}\trefs/heads/main"


def test_hooks_do_not_run(layout: Layout, parent: Path, clone: Path, git: Git, tmp_path: Path) -> None:
    push_repo.create(layout, ALICE, CONFIG)
    hooks = push_repo.path_of(layout, ALICE) / "hooks"
    hooks.mkdir()
    for name in ("pre-receive", "update", "post-receive", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n", encoding="ascii")
        (hooks / name).chmod(0o755)
    git(clone, "push", "-q", str(push_repo.path_of(layout, ALICE)), "HEAD:main")
    assert not (tmp_path / "ran").exists()


def test_the_group_may_write_objects_and_refs_and_nobody_replaces_the_configuration(
    layout: Layout, parent: Path
) -> None:
    push_repo.create(layout, ALICE, CONFIG)
    repo = push_repo.path_of(layout, ALICE)
    modes = {name: stat.S_IMODE((repo / name).stat().st_mode) for name in (".", "objects", "refs", "refs/heads")}
    assert modes == {".": 0o3775, "objects": 0o3775, "refs": 0o3775, "refs/heads": 0o2775}
    assert repo.stat().st_gid == os.getegid()
    assert stat.S_IMODE((repo / "config").stat().st_mode) == 0o644
    assert stat.S_IMODE((repo / "objects/info").stat().st_mode) & stat.S_IWGRP == 0


def test_without_the_group_only_hive_may_push(layout: Layout, parent: Path) -> None:
    push_repo.create(layout, ALICE, Config(push_group="no-such-group"))
    repo = push_repo.path_of(layout, ALICE)
    assert not any(path.stat().st_mode & 0o022 for path in (repo, *repo.rglob("*")))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two other users")
def test_members_of_the_group_push_to_each_others_branches(layout: Layout, parent: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, *(path for path in tmp_path.parents if path.name.startswith(("pytest-", "popen-")))):
        folder.chmod(0o755)
    group = grp.getgrnam("users")
    push_repo.create(layout, ALICE, Config(push_group=group.gr_name))
    repo = str(push_repo.path_of(layout, ALICE))

    def push(uid: int) -> str:
        home = tmp_path / str(uid)
        home.mkdir()
        os.chown(home, uid, uid)
        who = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={group.gr_gid}"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        for key in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{key}_NAME": "p", f"GIT_{key}_EMAIL": "p@p"}
        for words in (
            ["init", "-q"],
            ["config", "--global", "--add", "safe.directory", repo],
            ["commit", "-q", "--allow-empty", "-m", str(uid)],
            ["push", "-q", "-f", repo, "HEAD:refs/heads/feature/x"],
        ):
            done = subprocess.run(
                [*who, "git", *words],
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=20,
                umask=0o077,
            )
            assert done.returncode == 0, done.stderr
        return subprocess.run(
            ["git", "rev-parse", "refs/heads/feature/x"], cwd=repo, capture_output=True, text=True, timeout=20
        ).stdout

    assert push(61_001) != push(61_002)
    objects = [path for path in Path(repo, "objects").rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & stat.S_IROTH for path in objects), "hive reads them without privileges"


def test_it_is_made_once(layout: Layout, parent: Path, clone: Path, git: Git) -> None:
    push_repo.create(layout, ALICE, CONFIG)
    repo = push_repo.path_of(layout, ALICE)
    git(clone, "push", "-q", str(repo), "HEAD:main")
    push_repo.create(layout, ALICE, CONFIG)
    assert (repo / "refs/heads/main").exists()
    assert list(layout.scratch.iterdir()) == []


def test_a_file_in_its_place_is_said_and_left_alone(layout: Layout, parent: Path) -> None:
    (parent / "alice.git").write_text("mine", encoding="ascii")
    with pytest.raises(PermanentError, match=r"alice\.git is in the way"):
        push_repo.create(layout, ALICE, CONFIG)
    assert (parent / "alice.git").read_text(encoding="ascii") == "mine"
    assert not push_repo.present(layout, ALICE)
    assert list(layout.scratch.iterdir()) == []


def test_nothing_is_made_through_a_symlink(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    layout.state.mkdir(parents=True)
    layout.push_repos.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="hive writes nothing there"):
        push_repo.create(layout, ALICE, CONFIG)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["commondir", "config.worktree", "config", "HEAD"])
def test_what_would_lead_git_elsewhere_is_there_already_and_hives(layout: Layout, parent: Path, name: str) -> None:
    push_repo.create(layout, ALICE, Config())
    own = push_repo.path_of(layout, ALICE) / name
    assert own.stat().st_mode & 0o022 == 0
    assert push_repo.path_of(layout, ALICE).stat().st_mode & 0o022 == 0 or own.parent.stat().st_mode & 0o1000
    own.unlink()
    assert not push_repo.present(layout, ALICE)
