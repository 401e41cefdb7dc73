"""Reading the branches of a repo that somebody else may write in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.proposed import tips
from meta.proposed.tips import Snapshot, is_branch, read_tips

Git = Callable[..., str]
GIT_DIRECTORY = "alice/push.git"


@pytest.fixture
def repo(tmp_path: Path, git: Git) -> Path:
    """A bare repo at GIT_DIRECTORY with one commit on main, all of it settled."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    git(work, "commit", "-q", "--allow-empty", "-m", "first")
    git(tmp_path, "clone", "-q", "--bare", str(work), str(tmp_path / GIT_DIRECTORY))
    return tmp_path / GIT_DIRECTORY


def found(snapshot: Snapshot) -> dict[str, str]:
    return {branch: tip.sha for branch, tip in snapshot.tips.items()}


def test_loose_and_packed_branches_are_found_and_the_loose_one_counts(tmp_path: Path, repo: Path, git: Git) -> None:
    first = git(repo, "rev-parse", "main")
    git(repo, "branch", "feature/deep/x", first)
    git(repo, "pack-refs", "--all")
    assert found(read_tips(tmp_path, GIT_DIRECTORY)) == {"main": first, "feature/deep/x": first}
    second = git(repo, "commit-tree", f"{first}^{{tree}}", "-p", first, "-m", "second")
    git(repo, "update-ref", "refs/heads/main", second)
    snapshot = read_tips(tmp_path, GIT_DIRECTORY)
    assert found(snapshot) == {"main": second, "feature/deep/x": first}
    assert snapshot.tips["main"].uid == os.geteuid()
    assert snapshot.complaint is None


def test_two_looks_are_the_same_until_something_changes(
    tmp_path: Path, repo: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tips, "SETTLED_NS", -1)
    first = read_tips(tmp_path, GIT_DIRECTORY)
    assert read_tips(tmp_path, GIT_DIRECTORY, first).same(first)
    git(repo, "update-ref", "refs/heads/other", "HEAD")
    second = read_tips(tmp_path, GIT_DIRECTORY, first)
    assert not second.same(first)
    git(repo, "pack-refs", "--all")
    third = read_tips(tmp_path, GIT_DIRECTORY, second)
    assert not third.same(second)
    assert found(third) == found(second)


def test_what_changed_just_now_is_looked_at_again(
    tmp_path: Path, repo: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tips, "SETTLED_NS", 10**18)
    first = read_tips(tmp_path, GIT_DIRECTORY)
    assert not read_tips(tmp_path, GIT_DIRECTORY, first).same(first)


@pytest.mark.parametrize("part", ["alice", "alice/push.git", "alice/push.git/refs", "alice/push.git/refs/heads"])
@pytest.mark.parametrize("kind", ["symlink", "file", "fifo", "nothing"])
def test_no_symlink_is_followed_and_nothing_odd_is_opened(tmp_path: Path, repo: Path, part: str, kind: str) -> None:
    place, aside = tmp_path / part, tmp_path / "aside"
    shutil.move(place, aside)
    if kind == "symlink":
        place.symlink_to(aside)
    elif kind == "file":
        place.write_text("gitdir: ../aside\n", encoding="ascii")
    elif kind == "fifo":
        os.mkfifo(place)
    snapshot = read_tips(tmp_path, GIT_DIRECTORY)
    assert found(snapshot) == {}
    assert snapshot.complaint is not None
    assert str(place) in snapshot.complaint or kind == "nothing" or str(tmp_path / GIT_DIRECTORY) in snapshot.complaint


def test_refs_that_are_links_fifos_or_nonsense_are_passed_over(tmp_path: Path, repo: Path, git: Git) -> None:
    heads, sha = repo / "refs" / "heads", git(repo, "rev-parse", "main")
    (tmp_path / "secret").write_text(f"{'a' * 40}\n", encoding="ascii")
    (heads / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(heads / "fifo")
    (heads / "symbolic").write_text("ref: refs/heads/main\n", encoding="ascii")
    (heads / "binary").write_bytes(b"\xff" * 40)
    (heads / "long").write_text(sha * 1000, encoding="ascii")
    (heads / "x.lock").write_text(sha, encoding="ascii")
    snapshot = read_tips(tmp_path, GIT_DIRECTORY)
    assert found(snapshot) == {"main": sha}
    assert snapshot.complaint == f"{repo}: 2 entries of refs/heads are not branches and are skipped"


def test_a_packed_refs_that_is_a_link_is_not_read(tmp_path: Path, repo: Path) -> None:
    (repo / "packed-refs").unlink(missing_ok=True)
    (tmp_path / "secret").write_text(f"{'a' * 40} refs/heads/stolen\n", encoding="ascii")
    (repo / "packed-refs").symlink_to(tmp_path / "secret")
    snapshot = read_tips(tmp_path, GIT_DIRECTORY)
    assert "stolen" not in snapshot.tips
    assert snapshot.complaint is not None
    assert "packed-refs is not a file" in snapshot.complaint


def test_a_packed_refs_that_goes_while_it_is_looked_at_stops_nothing(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "packed-refs").write_text("", encoding="ascii")

    def gone(*_: object) -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(tips, "_read", gone)
    snapshot = read_tips(tmp_path, GIT_DIRECTORY)
    assert snapshot.complaint is not None
    assert "packed-refs cannot be read" in snapshot.complaint


def test_a_flood_of_branches_is_bounded_and_said(tmp_path: Path, repo: Path, git: Git) -> None:
    sha = git(repo, "rev-parse", "main")
    for number in range(tips.MOST_ENTRIES + 100):
        (repo / "refs/heads" / f"b{number}").write_text(f"{sha}\n", encoding="ascii")
    snapshot = read_tips(tmp_path, GIT_DIRECTORY)
    assert 0 < len(snapshot.tips) <= tips.MOST_ENTRIES
    assert snapshot.complaint == f"{repo} has more than {tips.MOST_ENTRIES} branches: hive reads only some of them"


def test_folders_in_folders_end_somewhere(tmp_path: Path, repo: Path) -> None:
    deep = repo / "refs/heads"
    for number in range(40):
        deep = deep / f"d{number}"
    deep.mkdir(parents=True)
    snapshot = read_tips(tmp_path, GIT_DIRECTORY)
    assert len(snapshot.folders) < 40
    assert snapshot.complaint is not None


def test_a_reftable_is_said_to_be_unreadable(tmp_path: Path, repo: Path) -> None:
    (repo / "reftable").mkdir()
    assert "reftable" in (read_tips(tmp_path, GIT_DIRECTORY).complaint or "")


@pytest.mark.parametrize("name", ["main", "propose/topic", "ünï", "a-$(reboot);b|c&d", "'quoted\"", "--upload-pack=x"])
def test_names_that_git_takes_are_branches(name: str) -> None:
    assert is_branch(name)


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a\nb", "a~1", "a..b", "a@{0}", ".a", "a/.b", "a.", "a.lock", "a.lock/b", "a//b"],
)
def test_names_that_git_does_not_take_are_none(name: str) -> None:
    assert not is_branch(name)


@pytest.mark.parametrize("name", ["x" * 201, "a\u202eb", "\x1b[31m", "\udcff"])
def test_names_that_people_cannot_read_are_none(name: str) -> None:
    assert not is_branch(name)
