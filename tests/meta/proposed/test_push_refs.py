"""hive moves `main` and tags of a push repo as git does: under its locks, from a value that it read, by no link."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.names import AgentName, Sha
from meta.proposed import push_check, push_refs, push_repo
from meta.proposed.tips import Tip, read_tips

ALICE = AgentName("alice")
A, B = Sha("a" * 40), Sha("b" * 40)
LATER = 1e11
Git = Callable[..., str]


@pytest.fixture
def repo(layout: Layout) -> Path:
    """alice's push repo, as hive makes it."""
    layout.state.mkdir(parents=True, exist_ok=True)
    push_repo.create(layout, ALICE, Config())
    return layout.push_repo(ALICE)


def test_main_moves_only_from_the_value_that_was_read(repo: Path) -> None:
    assert push_refs.move_main(repo, None, A)
    assert not push_refs.move_main(repo, None, B)
    assert not push_refs.move_main(repo, B, Sha("c" * 40))
    assert push_refs.main_of(repo) == A
    assert push_refs.move_main(repo, A, B)
    assert push_refs.move_main(repo, A, B)  # another look of hive's was first
    assert (repo / "refs/heads/main").read_text(encoding="ascii") == f"{B}\n"
    assert sorted(path.name for path in (repo / "refs/heads").iterdir()) == ["main"]


def test_a_lock_that_a_push_holds_is_respected(repo: Path) -> None:
    push_refs.move_main(repo, None, A)
    for lock in (repo / "refs/heads/main.lock", repo / "packed-refs.lock"):
        lock.touch()
    assert not push_refs.move_main(repo, A, B)
    assert not push_refs.put_tags(repo, {"refs/tags/deployed/1": A})
    assert push_refs.main_of(repo) == A


def test_a_lock_that_a_killed_daemon_left_is_removed_for_the_next_try(repo: Path) -> None:
    lock = repo / "refs/heads/main.lock"
    lock.touch()
    os.utime(lock, (time.time() - 2 * push_refs.LEFT_LOCK,) * 2)
    assert not push_refs.move_main(repo, None, A)
    assert push_refs.move_main(repo, None, A)


def test_branches_below_main_leave_no_place_for_it(repo: Path) -> None:
    (repo / "refs/heads/main").mkdir()
    (repo / "refs/heads/main/x").write_text(f"{A}\n", encoding="ascii")
    assert not push_refs.move_main(repo, None, B)
    assert not (repo / "refs/heads/main.lock").exists()


def test_nothing_is_written_through_a_link(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (repo / "refs/heads").rmdir()
    (repo / "refs/heads").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"refs/heads|heads"):
        push_refs.move_main(repo, None, A)
    (repo / "packed-refs").symlink_to(tmp_path / "packed")
    assert not push_refs.put_tags(repo, {"refs/tags/deployed/1": A})
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (tmp_path / "packed").exists()


def test_tags_are_packed_beside_the_branches_that_git_packed_and_replace_hives_older_ones(repo: Path, git: Git) -> None:
    clone = repo.parent / "clone"
    clone.mkdir()
    git(clone, "init", "-q", "-b", "main")
    git(clone, "commit", "-q", "--allow-empty", "-m", "first")
    git(clone, "push", "-q", str(repo), "HEAD:refs/heads/topic", "HEAD:refs/tags/mine")
    sha = Sha(git(clone, "rev-parse", "HEAD"))
    git(repo, "-c", "safe.directory=*", "pack-refs", "--all")
    assert push_refs.put_tags(repo, {"refs/tags/deployed/1": sha})
    assert push_refs.put_tags(repo, {"refs/tags/deployed/2": sha, "refs/tags/approved/2": sha})
    shown = git(clone, "ls-remote", str(repo)).replace(sha, "").split()
    assert shown == ["refs/heads/topic", "refs/tags/approved/2", "refs/tags/deployed/2", "refs/tags/mine"]
    assert push_check.fault(repo, os.geteuid()) is None
    git(clone, "push", "-q", str(repo), "--delete", "topic")


def test_a_branch_is_removed_only_where_it_was_seen(repo: Path) -> None:
    topic = repo / "refs/heads/feature/x"
    topic.parent.mkdir()
    topic.write_text(f"{A}\n", encoding="ascii")
    tip = Tip("feature/x", A)
    assert push_refs.remove_branches(repo, [Tip("feature/x", B)], LATER) == ()
    assert push_refs.remove_branches(repo, [tip], topic.stat().st_mtime) == ()  # it was pushed again
    (repo / "packed-refs").write_text(f"{B} refs/heads/feature/x\n", encoding="ascii")
    assert push_refs.remove_branches(repo, [tip], LATER) == ()  # the packed one would appear in its place
    (repo / "packed-refs").unlink()
    assert push_refs.remove_branches(repo, [tip], LATER) == (tip,)
    assert list(topic.parent.iterdir()) == []


def test_many_branches_are_removed_with_one_reading_of_the_packed_refs(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads, calls = repo / "refs/heads", list[str]()
    (heads / "a/b").mkdir(parents=True)
    branches = [*(f"x{number}" for number in range(50)), *(f"a/b/{number}" for number in range(50))]
    for branch in branches:
        (heads / branch).write_text(f"{A}\n", encoding="ascii")
    (heads / "x7.lock").touch()  # a push has it
    read = push_refs._packed

    def counted(top: int) -> dict[str, Sha] | None:
        calls.append("read")
        return read(top)

    monkeypatch.setattr(push_refs, "_packed", counted)
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("fsync"))
    removed = push_refs.remove_branches(repo, [Tip(branch, A) for branch in branches], LATER)
    assert {tip.branch for tip in removed} == {*branches} - {"x7"}
    assert calls == ["read", "fsync", "fsync"]
    assert sorted(path.name for path in heads.rglob("*") if path.is_file()) == ["x7", "x7.lock"]
    assert not (repo / "packed-refs.lock").exists()


def test_packed_refs_with_long_names_and_names_that_are_not_utf_8_are_kept_byte_by_byte(repo: Path) -> None:
    names = [b"refs/heads/" + b"l" * 300 + b"/" + b"m" * 250, b"refs/tags/\xe4", "refs/tags/\u00e4\u2028".encode()]
    refs = b"".join(b"b" * 40 + b" " + name + b"\n" for name in sorted(names))
    (repo / "packed-refs").write_bytes(b"# pack-refs with: sorted \n" + refs)
    assert push_refs.put_tags(repo, {"refs/tags/deployed/1": A})
    lines = (repo / "packed-refs").read_bytes().splitlines()[1:]
    assert [line[41:] for line in lines] == sorted([*names, b"refs/tags/deployed/1"])
    (repo / "packed-refs").write_bytes(b"a" * 40 + b" refs/heads/topic\n" + refs)
    snapshot = read_tips(repo.parent, repo.name)
    assert (snapshot.complaint, list(snapshot.tips)) == (None, ["topic"])


@pytest.mark.parametrize("text", ["nonsense\n", f"{A} ../../etc/passwd\n", "x" * (2**20 + 1)])
def test_packed_refs_that_git_did_not_write_are_left_alone(repo: Path, text: str) -> None:
    (repo / "packed-refs").write_text(text, encoding="ascii")
    assert push_refs.packed(repo) is None
    assert not push_refs.put_tags(repo, {"refs/tags/deployed/1": A})
    assert (repo / "packed-refs").read_text(encoding="ascii") == text
    assert not (repo / "packed-refs.lock").exists()
