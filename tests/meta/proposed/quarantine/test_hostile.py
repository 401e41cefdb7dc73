"""Repos that mean harm: nothing of theirs runs, and nothing that their owner could not read is fetched."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from meta.errors import BadInput, HiveError, Refused, TransientError
from meta.names import Sha
from meta.proposed.quarantine import tree
from tests.support.quarantine_lab import BWRAP, QuarantineLab, Repo, config, made_lab, needs_root

pytestmark = BWRAP


@pytest.fixture
def hive() -> Iterator[QuarantineLab]:
    """A hive and somebody's work tree."""
    with made_lab() as made:
        yield made


HOSTILE_CONFIG = """
[core]
    fsmonitor = "touch {marker}; false"
    sshCommand = "touch {marker}; false"
    gitProxy = "touch {marker}; false"
    alternateRefsCommand = "touch {marker}; false"
    hooksPath = {hooks}
    pager = "touch {marker}"
    editor = "touch {marker}"
    askPass = "touch {marker}"
    worktree = /
[diff]
    external = "touch {marker}; false"
[uploadpack]
    packObjectsHook = "touch {marker}; false"
[filter "evil"]
    clean = "touch {marker}"
    smudge = "touch {marker}"
    process = "touch {marker}"
[credential]
    helper = "!touch {marker}"
[remote "origin"]
    url = "ext::touch {marker}"
    uploadpack = "touch {marker}"
    promisor = true
[protocol "ext"]
    allow = always
[include]
    path = {marker}.config
"""


async def test_hostile_configuration_hooks_and_attributes_run_nothing(hive: QuarantineLab) -> None:
    marker, hooks = hive.root / "marker", hive.work.path / "hooks"
    sha = hive.work.commit({"agent.toml": "b", ".gitattributes": "* filter=evil diff=evil\n"})
    hive.root.chmod(0o777)
    script = f"#!/bin/sh\ntouch {marker}\n"
    names = ["pre-receive", "post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc", "update"]
    hive.work.write({f"hooks/{name}": script for name in names} | {f".git/hooks/{name}": script for name in names})
    for path in [*hooks.iterdir(), *(hive.work.path / ".git/hooks").iterdir()]:
        path.chmod(0o755)
    (hive.root / "marker.config").write_text(f'[core]\n\tfsmonitor = "touch {marker}"\n')
    with (hive.work.path / ".git/config").open("a") as config:
        config.write(HOSTILE_CONFIG.format(marker=marker, hooks=hooks))
    hive.work.own()
    before = snapshot(hive.work.path)
    try:
        for commit in (None, sha, sha[:10]):
            assert (await hive.fetch(commit)).sha == sha
    except HiveError as error:  # git may balk at such a configuration; it may not run it
        assert error.hint
    assert not marker.exists()
    assert snapshot(hive.work.path) == before
    assert hive.left_over() == []


def snapshot(path: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(entry): (found.st_mode, found.st_size, found.st_mtime_ns)
        for entry in sorted(path.rglob("*"))
        for found in [entry.lstat()]
    }


@dataclass(frozen=True)
class Secret:
    repo: Repo
    sha: Sha


@pytest.fixture
def secret(hive: QuarantineLab) -> Secret:
    """A commit in a repo that only root can read, itself within a directory that only root can enter."""
    repo = Repo(hive.root / "closed" / "secret")
    repo.path.mkdir(parents=True)
    repo.git("init", "--quiet", "--initial-branch=main", ".")
    sha = repo.commit({"password": "hunter2"}, "secret")
    (hive.root / "closed").chmod(0o700)
    return Secret(repo, sha)


def through_alternates(hive: QuarantineLab, secret: Secret) -> None:
    (hive.work.path / ".git/objects/info/alternates").write_text(f"{secret.repo.path}/.git/objects\n")


def through_http_alternates_and_relative_ones(hive: QuarantineLab, secret: Secret) -> None:
    (hive.work.path / ".git/objects/info/alternates").write_text("../../../closed/secret/.git/objects\n")


def through_symlinked_objects(hive: QuarantineLab, secret: Secret) -> None:
    git = hive.work.path / ".git"
    for name in ("objects", "refs"):
        shutil.rmtree(git / name)
        (git / name).symlink_to(secret.repo.path / ".git" / name)
    (git / "packed-refs").unlink(missing_ok=True)


def through_commondir(hive: QuarantineLab, secret: Secret) -> None:
    (hive.work.path / ".git/commondir").write_text(f"{secret.repo.path}/.git\n")


def through_a_git_file(hive: QuarantineLab, secret: Secret) -> None:
    shutil.rmtree(hive.work.path / ".git")
    (hive.work.path / ".git").write_text(f"gitdir: {secret.repo.path}/.git\n")


def through_a_git_symlink(hive: QuarantineLab, secret: Secret) -> None:
    shutil.rmtree(hive.work.path / ".git")
    (hive.work.path / ".git").symlink_to(secret.repo.path / ".git")


def through_a_symlinked_work_tree(hive: QuarantineLab, secret: Secret) -> None:
    shutil.rmtree(hive.work.path)
    hive.work.path.symlink_to(secret.repo.path)


def through_a_symlinked_loose_object(hive: QuarantineLab, secret: Secret) -> None:
    folder = hive.work.path / ".git/objects" / secret.sha[:2]
    folder.mkdir(exist_ok=True)
    (folder / secret.sha[2:]).symlink_to(secret.repo.path / ".git/objects" / secret.sha[:2] / secret.sha[2:])


def through_replace_refs(hive: QuarantineLab, secret: Secret) -> None:
    (hive.work.path / f".git/refs/replace/{hive.work.head()}").parent.mkdir(parents=True)
    (hive.work.path / f".git/refs/replace/{hive.base}").write_text(f"{secret.sha}\n")


@needs_root
@pytest.mark.parametrize(
    "way",
    [
        through_alternates,
        through_http_alternates_and_relative_ones,
        through_symlinked_objects,
        through_commondir,
        through_a_git_file,
        through_a_git_symlink,
        through_a_symlinked_work_tree,
        through_a_symlinked_loose_object,
        through_replace_refs,
    ],
)
async def test_a_repo_that_points_elsewhere_leaks_nothing(
    hive: QuarantineLab, secret: Secret, way: Callable[[QuarantineLab, Secret], None]
) -> None:
    way(hive, secret)
    if not hive.work.path.is_symlink():
        hive.work.own()
    for commit in (secret.sha, secret.sha[:12], None):
        try:
            fetched = await hive.fetch(commit)
        except HiveError as error:
            assert error.hint
        else:
            assert fetched.sha == hive.base  # its own commit may still be had
    assert not hive.has(secret.sha)
    assert hive.left_over() == []


async def test_a_work_tree_below_a_symlink_in_the_state_directory_is_refused(hive: QuarantineLab) -> None:
    proposed = hive.layout.state / "proposed" / "alice"
    proposed.parent.mkdir(parents=True, exist_ok=True)
    proposed.symlink_to(hive.work.path.parent)
    with pytest.raises(Refused, match="alice is a symlink"):
        await hive.fetch(source=proposed / hive.work.path.name)
    assert hive.left_over() == []


async def test_a_fifo_instead_of_a_git_directory_does_not_hang(hive: QuarantineLab) -> None:
    shutil.rmtree(hive.work.path / ".git")
    os.mkfifo(hive.work.path / ".git")
    with pytest.raises(BadInput, match="is not a directory but a fifo"):
        await hive.fetch()


async def test_a_fifo_within_the_git_directory_ends_at_the_deadline(hive: QuarantineLab) -> None:
    (hive.work.path / ".git/HEAD").unlink()
    os.mkfifo(hive.work.path / ".git/HEAD")
    hive.work.own()
    with pytest.raises(HiveError, match=r"longer than 0\.5 s|not a git repo"):
        await hive.fetch(config=config(fetch_deadline=0.5))


async def test_a_repo_in_which_git_waits_is_given_up_long_before_the_deadline(
    hive: QuarantineLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = hive.work.commit({"agent.toml": "b"})
    os.mkfifo(hive.work.path / ".git/packed-refs")
    hive.work.own()
    monkeypatch.setattr("meta.proposed.quarantine.fetch.PATIENCE", 0.5)
    with pytest.raises(TransientError, match=r"kept hive waiting .* for 0\.5 s"):
        await hive.fetch(head, config=config(fetch_deadline=600))
    with pytest.raises(TransientError, match="kept hive waiting"):
        await hive.fetch(config=config(fetch_deadline=600))
    assert hive.left_over() == []


@needs_root
async def test_upload_pack_runs_as_the_owner_who_must_be_able_to_read_it_all(hive: QuarantineLab) -> None:
    head = hive.work.commit({"agent.toml": "b"})
    path = hive.work.path / ".git/objects" / head[:2] / head[2:]
    os.chown(path, 0, 0)
    path.chmod(stat.S_IRUSR)
    with pytest.raises(HiveError, match=r"corrupted|no commit"):
        await hive.fetch()
    assert not hive.has(head)


@pytest.mark.parametrize(
    "path",
    [
        "/abs",
        "a//b",
        "a/../b",
        "./a",
        "a/.Git/x",
        "GIT~1",
        ".git. ",
        ".g\u200cit",
        "a\x1b",
        "a\x7f",
        "x" * 256,
        "y/" * 3000,
    ],
)
def test_a_path_that_means_something_else_is_refused_by_itself(path: str) -> None:
    with pytest.raises(Refused, match=r"the path .* is refused"):
        tree.check_path(path.encode())


@pytest.mark.parametrize("path", ["agent.toml", ".gitignore", "a/.github/x", "prompts/für alle.md", "git", "..."])
def test_an_ordinary_path_is_welcome(path: str) -> None:
    tree.check_path(path.encode())


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/".join(["d" * 200] * 20), "it has 4019 bytes, the limit is 1024"),
        ("x" * 256, "a name in it has 256 bytes, the limit is 255"),
        ("a/" * 65 + "f", "it lies in 65 directories, the limit is 64"),
    ],
)
def test_a_path_that_could_not_be_built_is_refused_with_the_limit(path: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        tree.check_path(path.encode())


def test_the_longest_and_the_deepest_path_are_welcome() -> None:
    tree.check_path(("a/" * 64 + "f").encode())
    tree.check_path("/".join(["x" * 255] * 4).encode())


def test_a_tree_of_very_many_directories_is_refused() -> None:
    entries = [tree.Entry("040000", Sha("0" * 40), 0, f"d{number}".encode()) for number in range(9)]
    with pytest.raises(Refused, match="more than 8 directories"):
        tree.check(entries, tree.TreeLimits(2, 100, 1000))
