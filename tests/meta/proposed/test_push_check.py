"""A push repo counts only as long as git obeys nothing in it but hive's own configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.names import AgentName
from meta.proposed import push_check, push_repo

ALICE = AgentName("alice")
Git = Callable[..., str]


@pytest.fixture
def repo(layout: Layout) -> Path:
    """alice's push repo, as hive makes it."""
    layout.state.mkdir(parents=True, exist_ok=True)
    push_repo.create(layout, ALICE, Config())
    return layout.push_repo(ALICE)


def fault(repo: Path) -> str | None:
    return push_check.fault(repo, os.geteuid())


def test_one_that_was_used_in_each_usual_way_is_as_hive_made_it(repo: Path, tmp_path: Path, git: Git) -> None:
    assert fault(repo) is None
    clone = tmp_path / "clone"
    clone.mkdir()
    git(clone, "init", "-q", "-b", "main")
    git(clone, "commit", "-q", "--allow-empty", "-m", "first")
    git(clone, "push", "-q", str(repo), "HEAD:main", "HEAD:a/b/c", "HEAD:refs/tags/t", "HEAD:refs/notes/x")
    assert fault(repo) is None
    git(repo, "-c", "safe.directory=*", "gc", "-q", "--prune=now")
    assert fault(repo) is None
    git(clone, "push", "-q", str(repo), ":a/b/c")
    assert fault(repo) is None


OBEYED = (
    *("hooks", "worktrees", "modules", "branches", "remotes", "reftable", "logs/refs/heads", "objects/info/x"),
    *("info/x", "objects/zz"),
)


@pytest.mark.parametrize("folder", OBEYED)
def test_a_folder_that_git_may_obey_is_a_fault(repo: Path, folder: str) -> None:
    (repo / folder).mkdir(parents=True)
    assert folder.split("/")[0] in (fault(repo) or "")


@pytest.mark.parametrize(
    "name",
    [
        *("gitdir", "config.d", "attributes", "hooks", "worktrees", "index", "config~"),
        *("info/attributes", "info/grafts", "info/sparse-checkout"),
        *("objects/info/alternates", "objects/info/http-alternates", "objects/x"),
    ],
)
def test_a_file_that_git_may_obey_is_a_fault(repo: Path, name: str) -> None:
    (repo / name).write_text("/elsewhere\n", encoding="ascii")
    assert name in (fault(repo) or "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config", push_check.SETTINGS.format(most=1) + "[include]\n\tpath = /tmp/x\n"),
        ("config", push_check.SETTINGS.format(most=1).replace("/dev/null", "hooks")),
        ("config", "[include]\n\tpath = /tmp/x\n" + push_check.SETTINGS.format(most=1)),
        ("config.worktree", "[core]\n\thooksPath = hooks\n"),
        ("commondir", "../other\n"),
        ("HEAD", "ref: refs/other\n"),
        ("HEAD", "ref: refs/heads/../../x y\n"),
    ],
)
def test_other_words_in_hives_own_files_are_a_fault(repo: Path, name: str, text: str) -> None:
    (repo / name).write_text(text, encoding="ascii")
    assert f"{name} is not hive's" in (fault(repo) or "")


@pytest.mark.parametrize(
    "name", ["HEAD", "config", "objects", "objects/pack", "objects/ab", "refs", "refs/heads", "refs/heads/x",
             "refs/tags/deep/x", "info", "packed-refs", "logs"]
)  # fmt: skip
def test_a_symlink_is_a_fault(repo: Path, tmp_path: Path, name: str) -> None:
    path = repo / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert fault(repo) is not None


@pytest.mark.parametrize("name", ["", "objects", "refs", "info", "objects/info", "config", "HEAD", "commondir"])
def test_what_others_may_write_is_a_fault(repo: Path, name: str) -> None:
    (repo / name).chmod((repo / name).stat().st_mode & 0o777 | 0o022)
    assert fault(repo) is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
@pytest.mark.parametrize("name", ["", "objects", "refs", "info", "logs", "config", "commondir", "HEAD"])
def test_what_belongs_to_another_user_is_a_fault(repo: Path, name: str) -> None:
    os.chown(repo / name, 61_001, -1)
    assert fault(repo) is not None


def test_something_else_in_its_place_is_a_fault(repo: Path, tmp_path: Path) -> None:
    assert "No such file" in (fault(tmp_path / "none") or "")
    (tmp_path / "link").symlink_to(repo)
    assert fault(tmp_path / "link") is not None
    os.mkfifo(repo / "packed-refs")
    assert "neither a file nor a folder" in (fault(repo) or "")
