"""What hive wrote as single files is packed, and a repo is the same to git and to hive afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meta import own_file
from meta.applied import loose_files
from meta.applied.loose_files import pack_loose
from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.applied.states import FOLDERS
from meta.git import files, packs
from meta.layout import Layout
from meta.model import DeployKind, TagState
from meta.names import AgentName, ProposalId
from tests.meta.applied.test_merged_packs import check

ALICE = AgentName("alice")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(loose_files, "MOST_LOOSE", 3)
    monkeypatch.setattr(loose_files, "YOUNG", -1.0)
    monkeypatch.setattr(loose_files, "_FOLDERS", 2**30)
    return Layout(tmp_path / "s", tmp_path / "r")


async def make(layout: Layout) -> Applied:
    """A repo with two ids: one deployed, one that waits with a pack of its own."""
    applied = Applied(layout, ALICE)
    base = await applied.create({"agent.toml": b""}, at=1000)
    for number in (1, 2):
        sha, staged = await applied.edit(base, "agent.toml", f"n = {number}\n".encode(), "change", number)
        pinning = Pinning(DeployKind.APPLY_COMMIT, sha, base, sha, Source.parse("edit#agent.toml"), by="operator")
        await applied.propose(ProposalId(number), pinning, at=1, staged=staged)
    await applied.transition(ProposalId(1), TagState.APPROVED, by="operator", at=1)
    await applied.transition(ProposalId(1), TagState.FAILED, by="hive", at=1)
    folder = applied.repo.path / "objects/17"
    folder.mkdir(exist_ok=True)
    (folder / "a file that is no object").touch()
    return applied


def loose(applied: Applied) -> list[Path]:
    return [path for path in (applied.repo.path / "objects").glob("??/*") if " " not in path.name]


async def test_objects_and_tags_are_packed_and_read_as_before(layout: Layout) -> None:
    applied = await make(layout)
    before = await applied.deploys()
    assert await pack_loose(applied.repo.path, layout) > 3
    assert loose(applied) == []
    assert not [path for folder in FOLDERS for path in (applied.repo.path / folder).glob("*")]
    assert await Applied(layout, ALICE).deploys() == await applied.deploys() == before
    (applied.repo.path / "objects/17/a file that is no object").unlink()
    check(applied)


async def test_an_id_that_waits_can_be_denied_with_its_objects_afterwards(layout: Layout) -> None:
    applied = await make(layout)
    await pack_loose(applied.repo.path, layout)
    await applied.transition(ProposalId(2), TagState.DENIED, by="operator", at=2)
    assert packs.ids(applied.repo.path) == {1}
    assert [deploy.state for deploy in await applied.deploys()] == [TagState.FAILED, TagState.DENIED]
    check(applied)


async def test_files_stay_while_the_repo_is_read_or_few_or_young(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = await make(layout)
    written = loose(applied)
    with packs.reading(layout.applied_repos):
        assert await pack_loose(applied.repo.path, layout) == 0
    assert sorted(loose(applied)) == sorted(written)
    monkeypatch.setattr(loose_files, "YOUNG", 3600.0)
    assert await pack_loose(applied.repo.path, layout) == 0
    os.utime(written[0], (1, 1))
    assert await pack_loose(applied.repo.path, layout) == 0
    monkeypatch.setattr(loose_files, "YOUNG", -1.0)
    assert await pack_loose(applied.repo.path, layout) == len(written)


async def test_only_changed_ids_are_read_again(layout: Layout) -> None:
    applied = await make(layout)
    first = await applied.deploys()
    await applied.transition(ProposalId(2), TagState.APPROVED, by="operator", at=2)
    second = await applied.deploys()
    assert second[0] is first[0]
    assert second[1].state is TagState.APPROVED


async def test_packed_refs_are_parsed_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    applied = await make(layout)
    await pack_loose(applied.repo.path, layout)
    monkeypatch.setattr(files, "_SETTLED_NS", -1)
    read = []
    real = own_file.read

    def counting(path: str | Path, *rest: int) -> bytes:
        read.append(Path(path).name)
        return real(path, *rest)

    monkeypatch.setattr(own_file, "read", counting)
    for _ in range(3):
        await applied.deploys()
        await applied.main()
    assert read.count("packed-refs") == 1
