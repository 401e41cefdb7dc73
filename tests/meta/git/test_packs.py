"""One pack for each id: made of objects, placed, seen, and removed again."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from meta.errors import Conflict
from meta.git import packs
from meta.git.objects import blob, commit, snapshot
from meta.git.repo import GitRepo
from meta.names import ProposalId

SEVEN = ProposalId(7)


@pytest.fixture
async def repo(tmp_path: Path) -> GitRepo:
    """An empty repo of hive's own."""
    made = GitRepo(tmp_path / "repos/r.git")
    await made.init(["refs/tags"])
    return made


async def test_objects_of_every_size_are_read_back_from_a_pack(repo: GitRepo) -> None:
    contents = [blob(b"x" * size) for size in (0, 1, 15, 16, 17, 2047, 2048, 300_000)]
    root, objects = snapshot({"agent.toml": b"a", "prompts/system.md": b"b"})
    made = commit(root, (), "made", 1)
    (await repo.stage([*contents, *objects, made])).place(SEVEN)
    assert {item.id for item in contents} <= (await repo.objects(item.id for item in contents)).keys()
    assert (await repo.read(made.id, "prompts/system.md")) == b"b"


async def test_git_sees_the_objects_of_a_pack_from_its_place_to_its_removal(repo: GitRepo) -> None:
    item = blob(b"seen")
    staged = await repo.stage([item])
    assert await repo.objects([item.id]) == {}
    assert packs.ids(repo.path) == set()
    staged.place(SEVEN)
    staged.discard()  # has nothing left to remove
    assert packs.ids(repo.path) == {SEVEN}
    assert item.id in await repo.objects([item.id])
    assert packs.remove(repo.path, SEVEN)
    assert await repo.objects([item.id]) == {}
    assert list((repo.path / "objects/pack").iterdir()) == []


async def test_a_pack_is_not_removed_while_its_repo_or_all_repos_are_read(repo: GitRepo) -> None:
    (await repo.stage([blob(b"read")])).place(SEVEN)
    for directory in (repo.path, repo.path.parent):
        with packs.reading(directory), packs.reading(directory):
            assert not packs.remove(repo.path, SEVEN, [repo.path.parent])
    assert packs.remove(repo.path, SEVEN, [repo.path.parent])
    assert packs.remove(repo.path, SEVEN, [repo.path.parent])  # again, after a kill


async def test_a_lock_that_somebody_takes_on_the_folder_holds_up_nothing(repo: GitRepo) -> None:
    """The manager may open the folder, and a lock needs no right to write."""
    (await repo.stage([blob(b"read")])).place(SEVEN)
    descriptor = os.open(repo.path / "objects/pack", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with packs.reading(repo.path):
            pass
        assert packs.remove(repo.path, SEVEN)
    finally:
        os.close(descriptor)


async def test_a_pack_takes_the_place_of_no_other(repo: GitRepo) -> None:
    first, second = blob(b"first"), blob(b"second")
    (await repo.stage([first])).place(SEVEN)
    staged = await repo.stage([second])
    with pytest.raises(Conflict, match="objects of a proposal 7 already"):
        staged.place(SEVEN)
    staged.discard()
    assert set(await repo.objects([first.id, second.id])) == {first.id}
