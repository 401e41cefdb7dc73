"""The work tree follows what was deployed only if it is untouched, and what the manager set up there gains nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.names import AgentName, Sha
from meta.proposed import work_tree, work_tree_follow
from tests.meta.proposed.test_work_tree import MANAGER_UID, git, seed

ALICE = AgentName("alice")
pytestmark = pytest.mark.bwrap


class Trees:
    """alice's work tree, and the two commits of her applied repo. The work tree has the first."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.config = layout.proposed_config(ALICE)

    async def start(self) -> None:
        applied = self.layout.applied_git(ALICE)
        self.before = Sha(seed(self.layout, "refs/heads/main"))
        await work_tree.create(self.layout, ALICE, applied, MANAGER_UID)
        clone = self.layout.state / "clone"
        git(self.layout.state, "clone", "--quiet", str(applied), str(clone))
        (clone / "agent.toml").write_text("model = 2\n", encoding="utf-8")
        (clone / "new").write_text("theirs", encoding="utf-8")
        git(clone, "add", "-A")
        git(clone, "commit", "--quiet", "-m", "deployed")
        git(clone, "push", "--quiet", "origin", "main")
        self.main = Sha(git(clone, "rev-parse", "HEAD"))

    def git(self, *words: str) -> str:
        return git(self.config, *words, uid=MANAGER_UID)

    def write(self, name: str, text: str) -> Path:
        path = self.config / name
        path.write_text(text, encoding="utf-8")
        if MANAGER_UID is not None:
            os.chown(path, MANAGER_UID, MANAGER_UID)
        return path

    async def follow(self) -> str | None:
        return await work_tree_follow.follow(self.layout, ALICE, self.before, self.main, Config())

    def text(self) -> str:
        return (self.config / "agent.toml").read_text(encoding="utf-8")


@pytest.fixture
async def trees() -> AsyncIterator[Trees]:
    """Not below tmp_path, which pytest closes to every other uid."""
    top = Path(tempfile.mkdtemp(prefix="hive-follow-"))
    top.chmod(0o755)
    layout = Layout(top / "state", top / "run")
    layout.applied(ALICE).mkdir(parents=True)
    git(layout.applied(ALICE), "init", "--quiet", "--bare", "--initial-branch=main", ".git")
    made = Trees(layout)
    await made.start()
    yield made
    shutil.rmtree(top)


async def test_an_untouched_one_is_fast_forwarded_and_stays_the_managers(trees: Trees) -> None:
    trees.git("branch", "propose/topic")
    assert await trees.follow() is None
    assert trees.git("rev-parse", "main", "applied/main").split() == [trees.main] * 2
    assert (trees.text(), trees.git("status", "--porcelain")) == ("model = 2\n", "")
    assert {path.lstat().st_uid for path in trees.config.rglob("*")} == {trees.config.lstat().st_uid}
    assert list(trees.layout.scratch.iterdir()) == []


@pytest.mark.parametrize("way", ["edited", "new file", "committed", "other branch", "ignored file"])
async def test_a_touched_one_is_left_as_it_is(trees: Trees, way: str) -> None:
    wanted = "it has changes that are not committed"
    match way:
        case "edited":
            trees.write("agent.toml", "mine\n")
        case "new file":
            trees.write("mine", "mine\n")
        case "committed":
            trees.write("agent.toml", "mine\n")
            trees.git("commit", "--quiet", "-a", "-m", "mine")
            wanted = "it has commits of its own"
        case "other branch":
            trees.git("switch", "--quiet", "-c", "topic")
            wanted = "it is not on branch main"
        case _:
            trees.git("config", "core.excludesFile", "/repo/.git/ignored")
            trees.write(".git/ignored", "new\n")
            trees.write("new", "mine")
            wanted = "git could not fast-forward it"
    before = trees.git("rev-parse", "HEAD"), trees.text()
    assert await trees.follow() == wanted
    assert (trees.git("rev-parse", "HEAD"), trees.text()) == before
    if way == "ignored file":
        assert (trees.config / "new").read_text(encoding="utf-8") == "mine"


async def test_hooks_and_filters_of_the_manager_gain_nothing(trees: Trees) -> None:
    outside = trees.layout.state / "secret"
    outside.write_text("secret", encoding="utf-8")
    hooks = trees.config / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-merge", "reference-transaction", "post-checkout"):
        hook = hooks / name
        hook.write_text("#!/bin/sh\ntouch /repo/hook-ran\n", encoding="utf-8")
        hook.chmod(0o755)
    trees.git("config", "filter.evil.smudge", f"cat {outside} 2>/dev/null || echo nothing")
    (trees.config / ".git/info").mkdir(exist_ok=True)
    (trees.config / ".git/info/attributes").write_text("new filter=evil\n", encoding="utf-8")
    await trees.follow()
    assert not (trees.config / "hook-ran").exists()
    assert "secret" not in "".join(
        path.read_text("utf-8", "replace") for path in trees.config.glob("*") if path.is_file()
    )
