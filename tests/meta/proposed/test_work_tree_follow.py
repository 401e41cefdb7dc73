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
    before = trees.git("rev-parse", "HEAD"), trees.text()
    assert await trees.follow() == wanted
    assert (trees.git("rev-parse", "HEAD"), trees.text()) == before
    if way == "ignored file":
        assert (trees.config / "new").read_text(encoding="utf-8") == "mine"


async def test_what_the_manager_set_up_in_git_runs_nothing(trees: Trees) -> None:
    program = trees.write(".git/program", "#!/bin/sh\ntouch /repo/.git/it-ran\ncat\n")
    program.chmod(0o755)
    (trees.config / ".git/hooks").mkdir(exist_ok=True)
    for name in ("post-merge", "reference-transaction", "post-checkout", "post-index-change", "fsmonitor-watchman"):
        trees.write(f".git/hooks/{name}", program.read_text(encoding="utf-8")).chmod(0o755)
    for key in ("core.fsmonitor", "merge.evil.driver", "diff.external", "core.sshCommand", "remote.applied.uploadpack"):
        trees.git("config", key, "/repo/.git/program")
    trees.git("config", "core.hooksPath", "/repo/.git/hooks")
    assert await trees.follow() is None
    assert trees.text() == "model = 2\n"
    assert not (trees.config / ".git/it-ran").exists()


FOREIGN = "its .git/config or .git/info/attributes changes what git writes"


@pytest.mark.parametrize("way", ["filter", "include", "extension", "attributes", "no configuration"])
async def test_one_whose_configuration_changes_what_git_writes_is_left(trees: Trees, way: str) -> None:
    trees.write(".git/program", "#!/bin/sh\ntouch /repo/.git/it-ran\ncat\n").chmod(0o755)
    match way:
        case "filter":
            trees.git("config", "filter.evil.smudge", "/repo/.git/program")
            trees.git("config", "filter.evil.clean", "/repo/.git/program")
        case "include":
            trees.git("config", "includeIf.gitdir:/repo/.path", "more")
        case "extension":
            trees.git("config", "extensions.worktreeConfig", "true")
        case "attributes":
            (trees.config / ".git/info").mkdir(exist_ok=True)
            trees.write(".git/info/attributes", "* filter=evil\n")
        case _:
            trees.write(".git/config", "[")
    why = await trees.follow()
    assert why is not None
    assert why.startswith(FOREIGN)
    assert trees.text() == "model = 1\n"
    assert not (trees.config / ".git/it-ran").exists()


async def test_a_filter_that_appears_after_the_look_at_the_configuration_does_not_run(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.write(".git/program", "#!/bin/sh\ntouch /repo/.git/it-ran\ncat\n").chmod(0o755)
    (trees.config / ".git/info").mkdir(exist_ok=True)
    late = """mkdir -p $own/info
git config --file $repo/config filter.evil.smudge /repo/.git/program
git config --file $repo/config filter.evil.clean /repo/.git/program
echo '* filter=evil' >$repo/info/attributes
mkdir"""
    changed = work_tree_follow._SCRIPT.replace("mkdir", late, 1)
    monkeypatch.setattr(work_tree_follow, "_SCRIPT", changed)
    assert await trees.follow() is None
    assert trees.text() == "model = 2\n"
    assert not (trees.config / ".git/it-ran").exists()


async def test_what_the_manager_excludes_does_not_count_as_a_change(trees: Trees) -> None:
    (trees.config / ".git/info").mkdir(exist_ok=True)
    trees.write(".git/info/exclude", "scratch\n")
    trees.write("scratch", "mine")
    assert await trees.follow() is None


async def test_a_lock_that_a_killed_run_left_is_removed_and_anothers_is_not(trees: Trees) -> None:
    lock = trees.write(".git/index.lock", "of another git")
    assert await trees.follow() == "another git works in it: there is .git/index.lock"
    assert lock.exists()
    trees.write(".git/index.lock", "hive follows\n")
    assert await trees.follow() is None
    assert not lock.exists()


async def test_a_run_that_takes_too_long_leaves_no_lock(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_tree_follow, "DEADLINE", 1.0)
    monkeypatch.setattr(
        work_tree_follow, "_SCRIPT", work_tree_follow._SCRIPT.replace("mkdir", "exec tail -f /dev/null; mkdir", 1)
    )
    why = await trees.follow()
    assert why is not None
    assert "did not end within 1 s" in why
    assert not (trees.config / ".git/index.lock").exists()
    assert trees.git("status", "--porcelain") == ""
