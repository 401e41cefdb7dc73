"""Out of descriptors: an error that passes, and never a complaint about a file or a repo that is whole."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meta.config import Config
from meta.errors import TransientError
from meta.git import files
from meta.git.config import CONFIG
from meta.git.failures import failure
from meta.git.frame import check_frame
from meta.git.ref_stamp import RefStamp
from meta.layout import Layout
from meta.names import AgentName, Sha
from meta.proposed import push_main, push_objects, push_prune, push_refs, push_repo
from meta.proposed.tips import read_tips

ALICE = AgentName("alice")
TIP = Sha("1" * 40)


@contextmanager
def descriptors(free: int) -> Iterator[None]:
    """Leave only `free` descriptors for this process to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    most = lowest + 16
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for descriptor in taken[len(taken) - free :]:
            os.close(descriptor)
        del taken[len(taken) - free :]
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


@pytest.fixture
def repo(layout: Layout) -> Path:
    """A push repo with a loose and a packed branch."""
    layout.push_repos.mkdir(parents=True)
    push_repo.create(layout, ALICE, Config())
    path = push_repo.path_of(layout, ALICE)
    (path / "refs/heads/topic").write_text(f"{TIP}\n", encoding="ascii")
    (path / "refs/heads/a").mkdir()
    (path / "refs/heads/a/b").write_text(f"{TIP}\n", encoding="ascii")
    (path / "packed-refs").write_text(f"{TIP} refs/heads/packed\n", encoding="ascii")
    assert push_repo.complaint(layout, ALICE) is None
    return path


@pytest.mark.parametrize("free", range(4))
def test_the_check_of_a_push_repo_complains_about_no_repo(layout: Layout, repo: Path, free: int) -> None:
    with descriptors(free):
        try:
            assert push_repo.complaint(layout, ALICE) is None
        except TransientError as error:
            assert "Too many open files" in error.summary and "mv" not in error.describe()
        else:
            assert free > 1


@pytest.mark.parametrize("free", range(8))
def test_no_branch_counts_as_gone(layout: Layout, repo: Path, free: int) -> None:
    whole = read_tips(layout.push_repos, "alice.git")
    assert set(whole.tips) == {"topic", "a/b", "packed"} and whole.complaint is None
    with descriptors(free):
        try:
            assert read_tips(layout.push_repos, "alice.git").tips == whole.tips
        except TransientError as error:
            assert "Too many open files" in error.summary


def test_packed_refs_that_cannot_be_opened_are_not_taken_for_none(layout: Layout, repo: Path) -> None:
    with descriptors(1), pytest.raises(OSError, match="Too many open files"):
        push_refs.packed(repo)


async def test_main_and_pruning_wait(layout: Layout, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(push_refs, "packed", refuse)
    monkeypatch.setattr(push_objects, "read", refuse)
    with pytest.raises(TransientError, match="Too many open files"):
        await push_main.bring(layout, ALICE, push_main.Target(TIP, None, {}), Config())
    with pytest.raises(TransientError, match="Too many open files"):
        await push_prune.prune(layout, ALICE, Config(), 0.0)


@pytest.mark.parametrize(
    "read",
    [
        lambda repo: check_frame(repo),
        lambda repo: files.read_ref(repo, "refs/heads/topic"),
        lambda repo: files.read_refs(repo, ["refs/heads"]),
        lambda repo: files.read_loose(repo, TIP),
    ],
)
def test_no_repo_of_hive_is_damaged(repo: Path, read: Callable[[Path], object]) -> None:
    (repo / "objects/11").mkdir()
    (repo / "objects/11" / TIP[2:]).touch()
    with descriptors(0), pytest.raises(TransientError, match="Too many open files"):
        read(repo)


def test_a_stamp_that_could_not_be_read_is_read_again(repo: Path) -> None:
    (repo / "config").write_text(CONFIG, encoding="utf-8")  # as a repo of hive's own, which a push repo is not
    stamp = RefStamp(repo, ["refs/tags", "refs/heads"])
    with descriptors(0), pytest.raises(TransientError, match="Too many open files"):
        stamp.read()
    assert stamp.read() == RefStamp(repo, ["refs/tags", "refs/heads"]).read() is not None


def test_what_git_complains_about_passes() -> None:
    assert type(failure(Path("/x"), ["log"], "fatal: cannot open '/x/y': Too many open files")) is TransientError
