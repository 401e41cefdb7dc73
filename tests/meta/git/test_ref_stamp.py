"""The stamp changes whenever a ref does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from meta.git.config import CONFIG
from meta.git.ref_stamp import RefStamp
from meta.git.repo import GitRepo
from tests.meta.git.commits import add_commit

Git = Callable[..., str]
MAIN = "refs/heads/main"


async def test_the_stamp_changes_with_every_move_of_a_ref_and_only_then(repo: GitRepo, git: Git) -> None:
    stamp = RefStamp(repo.path, ["refs/tags/approved", "refs/heads"])
    sha, other = await add_commit(repo, {"a": b""}), await add_commit(repo, {"a": b"2"})
    seen = [stamp.read()]
    for arguments in (
        ("tag", "approved/7", sha),
        ("tag", "-f", "approved/7", other),
        ("update-ref", MAIN, sha),
        ("update-ref", MAIN, other),
        ("update-ref", MAIN, sha),
        ("pack-refs", "--all"),
        ("update-ref", "-d", "refs/tags/approved/7"),
    ):
        git(repo.path, *arguments)
        seen.append(stamp.read())
        assert stamp.read() == seen[-1]
        assert RefStamp(repo.path, ["refs/tags/approved", "refs/heads"]).read() == seen[-1], "the same after a restart"
    assert len(set(seen)) == len(seen)


def test_two_changes_within_one_tick_of_the_clock_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "refs" / "heads"
    folder.mkdir(parents=True)
    (tmp_path / "objects").mkdir()
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "HEAD").write_text("ref: refs/heads/main\n")
    stamp = RefStamp(tmp_path, ["refs/heads"])
    seen = set()
    tick = time.time_ns()
    for name in ("a", "b", "c"):
        (folder / name).touch()
        os.utime(folder, ns=(tick, tick))
        seen.add(stamp.read())
    assert len(seen) == 3


def test_there_is_no_stamp_without_a_repo(tmp_path: Path) -> None:
    assert RefStamp(tmp_path / "none", ["refs/heads"]).read() is None
