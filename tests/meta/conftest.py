"""What the tests of meta's repos share: a layout in a temporary directory, and the real git beside hive's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.applied.repo import Applied
from meta.desired.repo import MetaRepo
from meta.git.repo import GitRepo
from meta.layout import Layout
from meta.names import AgentName, Sha

Git = Callable[..., str]
ALICE = AgentName("alice")
FILES = {"agent.nix": b"{ }\n", "agent.toml": b'runtime = "script"\n', "prompts/system.md": b"be kind\n"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def git() -> Git:
    """git(directory, *arguments, stdin="") as a person would run it; fails the test when git does."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    who = {"GIT_AUTHOR_NAME": "ann", "GIT_AUTHOR_EMAIL": "ann@example.org"}
    who |= {"GIT_COMMITTER_NAME": "ann", "GIT_COMMITTER_EMAIL": "ann@example.org", "GIT_CONFIG_GLOBAL": "/dev/null"}

    def run(directory: Path, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env={**environment, **who},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    return run


@pytest.fixture
async def repo(tmp_path: Path) -> GitRepo:
    """An empty repo of hive's."""
    made = GitRepo(tmp_path / "repo" / ".git")
    await made.init()
    return made


@pytest.fixture
async def applied(layout: Layout) -> Applied:
    """alice's applied repo with its seed."""
    made = Applied(layout, ALICE)
    await made.create(FILES, at=1000)
    return made


@pytest.fixture
async def meta(layout: Layout) -> MetaRepo:
    """An empty meta repo."""
    made = MetaRepo(layout)
    await made.create(at=1000)
    return made


@pytest.fixture
def child(applied: Applied, git: Git) -> Callable[[Sha, str], Sha]:
    """child(parent, text): a commit on top of `parent` that changes agent.toml, put into alice's applied repo."""

    def make(parent: Sha, text: str) -> Sha:
        path = applied.repo.path
        content = git(path, "hash-object", "-w", "--stdin", stdin=text)
        tree = git(path, "mktree", stdin=f"100644 blob {content}\tagent.toml\n")
        return Sha(git(path, "commit-tree", tree, "-p", parent, "-m", f"set {text[:20]}"))

    return make
