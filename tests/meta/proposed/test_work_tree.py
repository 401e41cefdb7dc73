"""Proposed work trees, with real git and owners."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.errors import NotFound, PermanentError, Refused
from meta.layout import Layout
from meta.names import AgentName
from meta.process import sandbox
from meta.proposed import work_tree

ALICE = AgentName("alice")
MANAGER_UID = 524_288 if os.geteuid() == 0 else None
FETCH = [
    "+refs/heads/*:refs/remotes/applied/*",
    "+refs/tags/*:refs/tags/*",
    "+refs/tags/*:refs/remotes/applied/refs/tags/*",
]
pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed"),
]


def git(path: Path, *words: str, uid: int | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words],
        cwd=path,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", **(env or {})},
        capture_output=True,
        text=True,
        user=uid,
        group=uid,
        extra_groups=[] if uid is not None else None,
    )
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.strip()


@pytest.fixture
def layout() -> Iterator[Layout]:
    """Not below tmp_path, which pytest closes to every other uid."""
    with tempfile.TemporaryDirectory(prefix="hive-proposed-") as path:
        Path(path).chmod(0o755)
        layout = Layout(Path(path) / "state", Path(path) / "run")
        layout.applied(ALICE).mkdir(parents=True)
        git(layout.applied(ALICE), "init", "--quiet", "--bare", "--initial-branch=main", ".git")
        yield layout


def seed(layout: Layout, ref: str, text: str = "model = 1\n") -> str:
    """A commit with agent.toml, a script and a link, at `ref` of alice's applied repo."""
    with tempfile.TemporaryDirectory() as path:
        work = Path(path)
        git(work, "init", "--quiet", ".")
        (work / "agent.toml").write_text(text)
        (work / "run").write_text("#!/bin/sh\n")
        (work / "run").chmod(0o755)
        (work / "link").symlink_to("/etc/hostname")
        git(work, "add", "-A")
        git(work, "commit", "--quiet", "-m", "seed")
        git(work, "push", "--quiet", str(layout.applied_git(ALICE)), f"HEAD:{ref}")
        return git(work, "rev-parse", "HEAD")


def remote(layout: Layout) -> tuple[str, list[str]]:
    path = layout.proposed_config(ALICE)
    return (
        git(path, "config", "remote.applied.url", uid=MANAGER_UID),
        git(path, "config", "--get-all", "remote.applied.fetch", uid=MANAGER_UID).splitlines(),
    )


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/hive/seed"])
async def test_a_work_tree_is_made_from_the_newest_commit_and_belongs_to_the_manager(layout: Layout, ref: str) -> None:
    sha = seed(layout, ref)
    owner_before = Path("/etc/hostname").stat().st_uid
    assert not work_tree.present(layout, ALICE)
    await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    assert work_tree.present(layout, ALICE)
    config = layout.proposed_config(ALICE)
    assert git(config, "rev-parse", "HEAD", uid=MANAGER_UID) == sha
    assert git(config, "symbolic-ref", "HEAD", uid=MANAGER_UID) == "refs/heads/main"
    assert git(config, "status", "--porcelain", uid=MANAGER_UID) == ""
    assert git(config, "config", "--list", "--local", uid=MANAGER_UID).count("worktree") == 0
    assert remote(layout) == ("/applied/alice/.git", FETCH)
    expected = os.geteuid() if MANAGER_UID is None else MANAGER_UID
    assert {path.lstat().st_uid for path in (config, *config.rglob("*"))} == {expected}
    parent = layout.proposed(ALICE).stat()
    assert (parent.st_uid, parent.st_mode & 0o777) == (os.geteuid(), 0o755)
    assert Path("/etc/hostname").stat().st_uid == owner_before
    assert list(layout.scratch.iterdir()) == []


async def test_a_commit_in_the_work_tree_can_be_rebased_onto_applied_main(layout: Layout) -> None:
    seed(layout, "refs/heads/main")
    await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    config = layout.proposed_config(ALICE)
    assert git(config, "rev-parse", "applied/main", uid=MANAGER_UID) == git(
        config, "rev-parse", "HEAD", uid=MANAGER_UID
    )


async def test_an_existing_work_tree_is_never_touched(layout: Layout) -> None:
    seed(layout, "refs/heads/main")
    config = layout.proposed_config(ALICE)
    config.mkdir(parents=True)
    (config / "mine").write_text("x")
    await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    assert [path.name for path in config.iterdir()] == ["mine"]


async def test_something_else_in_its_place_is_named(layout: Layout) -> None:
    seed(layout, "refs/heads/main")
    layout.proposed(ALICE).mkdir(parents=True)
    layout.proposed_config(ALICE).symlink_to("/etc")
    assert not work_tree.present(layout, ALICE)
    with pytest.raises(PermanentError, match="is in the way"):
        await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    assert list(layout.scratch.iterdir()) == []


@pytest.mark.parametrize("way", ["symlink", "symlink to a work tree", "file"])
async def test_nothing_is_written_where_the_manager_led_the_parent_of_a_work_tree(layout: Layout, way: str) -> None:
    seed(layout, "refs/heads/main")
    elsewhere = layout.state / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    layout.proposed(ALICE).parent.mkdir(parents=True)
    if way == "file":
        layout.proposed(ALICE).touch()
    else:
        layout.proposed(ALICE).symlink_to(elsewhere)
    if way == "symlink to a work tree":
        (elsewhere / "config").mkdir()
    before = sorted(elsewhere.iterdir())
    assert not work_tree.present(layout, ALICE)
    with pytest.raises(Refused, match="not a directory" if way == "file" else "a symlink"):
        await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    with pytest.raises(Refused):
        await work_tree.wire_remote(layout, ALICE, MANAGER_UID)
    assert sorted(elsewhere.iterdir()) == before
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert list(layout.scratch.iterdir()) == []


async def test_an_applied_repo_without_a_commit_is_not_found(layout: Layout) -> None:
    with pytest.raises(NotFound, match="has no commit yet"):
        await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    assert not work_tree.present(layout, ALICE)


async def test_refs_that_git_packed_are_found_too(layout: Layout) -> None:
    sha = seed(layout, "refs/heads/main")
    git(layout.applied_git(ALICE), "pack-refs", "--all")
    await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    assert git(layout.proposed_config(ALICE), "rev-parse", "HEAD", uid=MANAGER_UID) == sha


async def test_the_remote_is_set_again_after_the_manager_changed_it(layout: Layout) -> None:
    seed(layout, "refs/heads/main")
    await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    config = layout.proposed_config(ALICE)
    (config / "work").write_text("in progress")
    git(config, "remote", "remove", "applied", uid=MANAGER_UID)
    for _ in range(2):
        await work_tree.wire_remote(layout, ALICE, MANAGER_UID)
        assert remote(layout) == ("/applied/alice/.git", FETCH)
    git(config, "config", "--add", "remote.applied.url", "/elsewhere", uid=MANAGER_UID)
    await work_tree.wire_remote(layout, ALICE, MANAGER_UID)
    assert remote(layout) == ("/applied/alice/.git", FETCH)
    assert (config / "work").read_text() == "in progress"
    expected = os.geteuid() if MANAGER_UID is None else MANAGER_UID
    assert (config / ".git/config").stat().st_uid == expected


async def test_a_missing_work_tree_is_made_anew_when_the_remote_is_wired(layout: Layout) -> None:
    seed(layout, "refs/heads/main")
    await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    shutil.rmtree(layout.proposed_config(ALICE))
    await work_tree.wire_remote(layout, ALICE, MANAGER_UID)
    assert work_tree.present(layout, ALICE)
    assert remote(layout) == ("/applied/alice/.git", FETCH)


@pytest.mark.parametrize("way", ["symlinked git directory", "symlinked config", "fifo", "no git directory"])
async def test_a_work_tree_that_points_elsewhere_is_left_alone_with_a_warning(
    layout: Layout, way: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_tree, "_CONFINED_DEADLINE", 0.5)
    seed(layout, "refs/heads/main")
    await work_tree.create(layout, ALICE, layout.applied_git(ALICE), MANAGER_UID)
    git_dir = layout.proposed_config(ALICE) / ".git"
    before = (layout.applied_git(ALICE) / "config").read_text()
    if way in ("symlinked git directory", "no git directory"):
        shutil.rmtree(git_dir)
    else:
        (git_dir / "config").unlink()
    if way == "symlinked git directory":
        git_dir.symlink_to(layout.applied_git(ALICE))
    elif way == "symlinked config":
        (git_dir / "config").symlink_to(layout.applied_git(ALICE) / "config")
    elif way == "fifo":
        os.mkfifo(git_dir / "config")
        os.chown(git_dir / "config", -1 if MANAGER_UID is None else MANAGER_UID, -1)
    with caplog.at_level(logging.WARNING):
        await work_tree.wire_remote(layout, ALICE, MANAGER_UID)
    assert "the remote applied of" in caplog.text
    assert (layout.applied_git(ALICE) / "config").read_text() == before
