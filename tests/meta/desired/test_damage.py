"""A damaged file of the meta repo is named, never read as absent; the remedy that is named mends it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meta.desired import trailers
from meta.desired.repo import MetaRepo
from meta.errors import Damaged, HiveError
from meta.git.files import write_objects
from meta.git.message import encode
from meta.git.objects import blob, commit, decode_tree
from meta.git.transaction import RefChange
from meta.layout import Layout
from meta.names import AgentName, Sha
from tests.support.damage import lose, mend, spoilt

ALICE = AgentName("alice")


@pytest.fixture
async def meta(layout: Layout) -> MetaRepo:
    """A meta repo in which something was committed."""
    repo = MetaRepo(layout)
    await repo.create(1)
    await repo.set_run(ALICE, lambda run: replace(run, restarts=1), by="operator", at=2)
    return repo


@spoilt
@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/run"])
async def test_a_spoilt_branch_of_meta_is_named_and_its_remedy_restores_it(
    meta: MetaRepo, layout: Layout, ref: str, content: bytes
) -> None:
    path = layout.meta_git / ref
    before = path.read_bytes()
    path.write_bytes(content)
    for use in (MetaRepo(layout).read, lambda: MetaRepo(layout).create(2)):
        with pytest.raises(Damaged, match=ref):
            await use()
    mend(layout.meta_git)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/run"])
async def test_a_branch_of_meta_that_is_gone_is_not_begun_anew(meta: MetaRepo, layout: Layout, ref: str) -> None:
    await meta.take_id()
    path = layout.meta_git / ref
    before = path.read_bytes()
    path.unlink()
    with pytest.raises(Damaged, match=ref):
        await MetaRepo(layout).create(2)
    mend(layout.meta_git)
    assert path.read_bytes() == before


@spoilt
async def test_a_spoilt_counter_gives_no_id_and_its_remedy_does_not_give_one_twice(
    meta: MetaRepo, layout: Layout, content: bytes
) -> None:
    await meta.take_id()
    (layout.meta_git / "refs/hive/counter").write_bytes(content)
    with pytest.raises(Damaged, match="counter"):
        await meta.take_id()
    mend(layout.meta_git)
    assert await meta.take_id(at_least=2) == 2


@spoilt
async def test_a_spoilt_candidate_is_named_and_removed_by_its_remedy(
    meta: MetaRepo, layout: Layout, content: bytes
) -> None:
    path = layout.meta_git / "refs/hive/candidate/alice.7"
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"alice\.7"):
        await MetaRepo(layout).read()
    mend(layout.meta_git)
    assert not path.exists()
    await MetaRepo(layout).read()


async def test_a_counter_whose_object_is_no_number_gives_no_id(meta: MetaRepo, layout: Layout) -> None:
    wrong = blob(b"many\n")
    write_objects(layout.meta_git, [wrong])
    (layout.meta_git / "refs/hive/counter").write_text(f"{wrong.id}\n")
    with pytest.raises(Damaged, match="counter"):
        await meta.take_id()


@pytest.mark.parametrize("content", [b"", b"no object"])
async def test_a_spoilt_commit_of_meta_is_named(meta: MetaRepo, layout: Layout, content: bytes) -> None:
    name = (layout.meta_git / "refs/heads/main").read_text().strip()
    path = layout.meta_git / "objects" / name[:2] / name[2:]
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(HiveError, match="is damaged"):
        await MetaRepo(layout).read()


@pytest.mark.parametrize(("ref", "file"), [("refs/heads/main", "agents.json"), ("refs/heads/run", "run.json")])
async def test_a_file_of_meta_whose_object_is_lost_is_named(
    meta: MetaRepo, layout: Layout, ref: str, file: str
) -> None:
    sha = meta.repo.ref(ref)
    assert sha is not None
    tree = (await meta.repo.commit(sha)).tree
    entries = {entry.name: entry.id for entry in decode_tree((await meta.repo.objects([tree]))[tree].data)}
    lose(layout.meta_git, entries[file.encode()])
    with pytest.raises(Damaged, match=file):
        await MetaRepo(layout).read()


async def test_a_branch_of_meta_that_goes_while_hive_runs_is_not_read_as_empty(meta: MetaRepo, layout: Layout) -> None:
    await meta.take_id()
    await meta.read()
    (layout.meta_git / "refs/heads/run").unlink()
    with pytest.raises(Damaged, match="run is damaged: it is missing"):
        await meta.read()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, Path.touch], ids=["pipe", "folder", "empty"])
async def test_a_start_makes_a_damaged_counter_again(
    meta: MetaRepo, layout: Layout, make: Callable[[Path], None]
) -> None:
    await meta.take_id()
    path = layout.meta_git / "refs/hive/counter"
    path.unlink()
    make(path)

    again = MetaRepo(layout)
    await again.create(3)

    assert not os.path.lexists(path)
    assert await again.take_id(at_least=2) == 2


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
async def test_a_start_does_not_need_the_copies_for_the_manager(
    meta: MetaRepo, layout: Layout, make: Callable[[Path], None]
) -> None:
    path = layout.meta / "agents.json"
    before = path.read_bytes()
    path.unlink()
    make(path)
    await MetaRepo(layout).create(3)
    assert path.read_bytes() == before


async def test_a_meta_repo_that_lost_every_ref_is_not_begun_anew(layout: Layout) -> None:
    meta = MetaRepo(layout)
    await meta.create(1)
    run = await meta.repo.commit(meta.repo.ref("refs/heads/main") or Sha(""))
    next_commit = commit(run.tree, (run.sha,), encode("x", trailers={trailers.ACTION: "deploy"}), 2)
    await meta.repo.transaction([RefChange("refs/heads/main", new=next_commit.id)], [next_commit])
    for ref in ("refs/heads/main", "refs/heads/run"):
        (layout.meta_git / ref).unlink()
    with pytest.raises(Damaged, match="refs/heads/main"):
        await MetaRepo(layout).create(2)
