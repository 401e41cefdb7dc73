"""Every ref of a repo is read without git, and nothing outside of the repo is read for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from meta.errors import Damaged
from meta.git.every_ref import every_ref
from tests.support import older_layout
from tests.support.older_layout import git


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    git(folder, "tag", "-a", "-m", "x", "deep/er/tag")
    git(folder, "branch", "topic")
    git(folder, "pack-refs", "--all")
    git(folder, "commit", "-q", "--allow-empty", "-m", "two")
    git(folder, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/main")
    git(folder, "symbolic-ref", "refs/remotes/origin/gone", "refs/heads/gone")
    return folder / ".git"


def test_it_reads_what_git_reads(repo: Path) -> None:
    words = ["git", f"--git-dir={repo}", "for-each-ref", "--format=%(refname) %(objectname)"]
    lines = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    assert every_ref(repo) == dict(line.split() for line in lines.splitlines())


def test_a_link_is_not_followed(repo: Path, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere/secret"
    older_layout.write(secret, "not a commit: forty characters of secret")
    for place in ("refs/heads/link", "refs/link"):
        (repo / place).symlink_to(secret if place.count("/") == 2 else secret.parent)
        with pytest.raises(Damaged) as error:
            every_ref(repo)
        assert "secret" not in error.value.summary
        (repo / place).unlink()
    (repo / "refs").rename(tmp_path / "refs")
    (repo / "refs").symlink_to(secret.parent)
    with pytest.raises(Damaged, match="it is a link"):
        every_ref(repo)


@pytest.mark.parametrize("text", ["", "x" * 40, "1" * 39 + "\n", "forty characters of what is no object ...\n"])
def test_a_ref_that_names_no_object_is_damaged_and_its_text_is_not_shown(repo: Path, text: str) -> None:
    (repo / "refs/heads/topic2").write_text(text, encoding="ascii")
    with pytest.raises(Damaged) as error:
        every_ref(repo)
    assert "topic2" in error.value.summary
    assert not text.strip() or text.strip() not in error.value.summary
