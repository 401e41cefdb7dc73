"""What is there and cannot be understood is damaged, never absent; the remedy that is named mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from meta import own_file
from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source, SourceKind
from meta.errors import Damaged, NotFound, PermanentError
from meta.git import packs
from meta.git.damage import examine_refs
from meta.git.files import read_loose, read_refs, write_objects
from meta.git.frame import check_frame, mend_frame
from meta.git.objects import GitObject, blob
from meta.layout import Layout
from meta.model import DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from tests.support.damage import lose, mend, spoilt

ALICE, ZERO = AgentName("alice"), ProposalId(0)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "s", tmp_path / "r")


@pytest.fixture
async def applied(layout: Layout) -> Applied:
    """A repo whose seed is deployed."""
    repo = Applied(layout, ALICE)
    sha = await repo.create({"agent.toml": b""}, 1)
    source = Source.of(SourceKind.SPAWN)
    pinning = Pinning(DeployKind.SPAWN, sha, None, commit_ref="", source=source, by="operator", description="")
    await repo.propose(ZERO, pinning, 2)
    for state in (TagState.APPROVED, TagState.BUILDING):
        await repo.transition(ZERO, state, by="hive", at=3)
    await repo.deployed(ZERO, by="hive", at=4, meta_commit=Sha("7" * 40), unproven=False, seed=True)
    return repo


@spoilt
@pytest.mark.parametrize("ref", ["refs/tags/deployed/0", "refs/tags/proposal/0", "refs/heads/main", "refs/hive/seed"])
async def test_a_spoilt_ref_of_an_applied_repo_is_named_and_its_remedy_restores_it(
    applied: Applied, ref: str, content: bytes
) -> None:
    path = applied.repo.path / ref
    before = path.read_bytes()
    path.write_bytes(content)

    with pytest.raises(Damaged, match=ref):
        applied.repo.ref(ref)

    mend(applied.repo.path)
    assert path.read_bytes() == before


@spoilt
async def test_a_spoilt_tag_is_not_a_missing_one(applied: Applied, layout: Layout, content: bytes) -> None:
    (applied.repo.path / "refs/tags/deployed/0").write_bytes(content)
    with pytest.raises(Damaged):
        await Applied(layout, ALICE).deploys()


@pytest.mark.parametrize("content", [b"", b"no object"])
async def test_a_spoilt_object_behind_a_tag_is_named(applied: Applied, layout: Layout, content: bytes) -> None:
    name = (applied.repo.path / "refs/tags/deployed/0").read_text().strip()
    path = applied.repo.path / "objects" / name[:2] / name[2:]
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(Damaged, match=str(path)):
        await Applied(layout, ALICE).deploys()
    (hurt,) = examine_refs(applied.repo.path)
    assert str(path) in hurt.text


async def test_a_missing_object_behind_a_tag_is_named(applied: Applied, layout: Layout) -> None:
    name = (applied.repo.path / "refs/tags/deployed/0").read_text().strip()
    (applied.repo.path / "objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(Damaged, match=name):
        await Applied(layout, ALICE).deploys()
    (hurt,) = examine_refs(applied.repo.path)
    assert name in hurt.text


@pytest.mark.parametrize("text", ["half a li", "no ref at all\n", "7777 refs/tags/deployed/1\n"])
async def test_a_broken_line_in_packed_refs_is_named(applied: Applied, layout: Layout, text: str) -> None:
    (applied.repo.path / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{text}")
    with pytest.raises(Damaged, match="packed-refs"):
        await Applied(layout, ALICE).deploys()
    (hurt,) = examine_refs(applied.repo.path)
    assert "packed-refs" in hurt.text


@pytest.mark.parametrize("name", ["HEAD", "config"])
async def test_an_empty_head_or_configuration_is_named_and_a_start_writes_it_again(
    applied: Applied, layout: Layout, name: str
) -> None:
    path = applied.repo.path / name
    before = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(Damaged, match=name):
        Applied(layout, ALICE).stamp()
    assert mend_frame(applied.repo.path) == [path]
    assert path.read_bytes() == before
    assert Applied(layout, ALICE).stamp() is not None


async def test_a_missing_refs_folder_is_no_missing_repo(applied: Applied, layout: Layout) -> None:
    (applied.repo.path / "refs").rename(applied.repo.path / "refs.away")
    with pytest.raises(Damaged, match="refs"):
        Applied(layout, ALICE).stamp()


def test_an_object_that_is_there_and_spoilt_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    item = blob(b"text")
    write_objects(tmp_path, [item])
    path = tmp_path / "objects" / item.id[:2] / item.id[2:]
    path.chmod(0o644)
    path.write_bytes(b"")
    write_objects(tmp_path, [item])
    assert read_loose(tmp_path, item.id) == item


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("refs/tags/deployed/0", lambda applied: applied.repo.ref("refs/tags/deployed/0")),
        ("refs/tags/deployed", lambda applied: applied.repo.refs(["refs/tags/deployed"])),
        ("packed-refs", lambda applied: applied.repo.refs(["refs/heads"])),
    ],
)
async def test_what_cannot_be_read_is_not_absent(
    applied: Applied, name: str, look: Callable[[Applied], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = applied.repo.path / name
    if name == "packed-refs":
        path.touch()

    def refuse(function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(at: object, *rest: object, **more: object) -> object:
            if str(at) == str(path):
                raise OSError(5, "Input/output error")
            return function(at, *rest, **more)

        return wrapped

    monkeypatch.setattr("meta.own_file.read", refuse(own_file.read))
    monkeypatch.setattr("os.listdir", refuse(__import__("os").listdir))
    with pytest.raises(Damaged, match="Input/output error"):
        look(applied)


@pytest.mark.parametrize("place", ["symbolic ref", "folder", "zeros"])
async def test_what_is_in_the_place_of_a_tag_and_names_no_object_is_named_and_mended(
    applied: Applied, layout: Layout, place: str
) -> None:
    path = applied.repo.path / "refs/tags/deployed/0"
    before = path.read_bytes()
    path.unlink()
    if place == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"ref: refs/heads/nowhere\n" if place == "symbolic ref" else b"\0" * 41)
    with pytest.raises(Damaged, match="refs/tags/deployed/0"):
        await Applied(layout, ALICE).deploys()
    mend(applied.repo.path)
    assert path.read_bytes() == before


async def test_a_file_in_the_place_of_a_folder_of_tags_is_named(applied: Applied, layout: Layout) -> None:
    folder = applied.repo.path / "refs/tags/deployed"
    folder.rename(folder.with_name("away"))
    folder.touch()
    with pytest.raises(Damaged, match="refs/tags/deployed"):
        await Applied(layout, ALICE).deploys()


async def test_a_file_in_the_place_of_a_repo_is_no_missing_repo(layout: Layout) -> None:
    layout.applied_git(ALICE).parent.mkdir(parents=True)
    layout.applied_git(ALICE).write_bytes(b"")
    with pytest.raises(Damaged, match=r"alice/\.git"):
        Applied(layout, ALICE).stamp()


async def test_a_folder_of_branches_is_ignored(applied: Applied) -> None:
    (applied.repo.path / "refs/heads/topic").mkdir()
    assert list(applied.repo.refs(["refs/heads"])) == ["refs/heads/main"]
    assert examine_refs(applied.repo.path) == []


def test_a_folder_of_refs_that_git_removes_meanwhile_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "refs/hive/candidate"
    folder.mkdir(parents=True)
    real = own_file.read

    def read(path: str | Path) -> bytes:
        try:
            return real(path)
        except Damaged:
            folder.rmdir()
            raise

    monkeypatch.setattr(own_file, "read", read)
    assert read_refs(tmp_path, ["refs/hive"]) == {}
    assert not folder.exists()


async def test_an_empty_packed_refs_is_named(applied: Applied, layout: Layout) -> None:
    (applied.repo.path / "packed-refs").touch()
    with pytest.raises(Damaged, match="packed-refs is damaged: it is empty"):
        await Applied(layout, ALICE).deploys()


async def test_the_tags_of_a_deployed_agent_are_not_all_absent_and_the_remedies_restore_them(
    applied: Applied, layout: Layout
) -> None:
    before = await Applied(layout, ALICE).deploys()
    shutil.rmtree(applied.repo.path / "refs/tags")
    with pytest.raises(Damaged, match="no tags"):
        await Applied(layout, ALICE).deploys()
    for hurt in examine_refs(applied.repo.path):
        subprocess.run(["sh", "-c", hurt.remedy or "true"], check=True, timeout=10)
    assert await Applied(layout, ALICE).deploys() == before


async def test_a_tag_that_points_at_no_commit_is_named_and_mended(applied: Applied, layout: Layout) -> None:
    path = applied.repo.path / "refs/tags/deployed/0"
    before, other = path.read_bytes(), blob(b"text")
    write_objects(applied.repo.path, [other])
    path.write_text(f"{other.id}\n")
    with pytest.raises(Damaged, match="neither tag nor commit"):
        await Applied(layout, ALICE).deploys()
    mend(applied.repo.path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"garbage", b"[core]\n\tbare = tr", b"\0" * 200, b"[core]\nhooksPath = /\n?!?\n"])
async def test_a_spoilt_configuration_is_named_and_a_start_writes_it_again(
    applied: Applied, layout: Layout, content: bytes
) -> None:
    path = applied.repo.path / "config"
    before = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(Damaged, match="config"):
        Applied(layout, ALICE).stamp()
    assert mend_frame(applied.repo.path) == [path]
    assert path.read_bytes() == before


async def test_a_start_leaves_a_head_that_it_cannot_write(applied: Applied, layout: Layout) -> None:
    (applied.repo.path / "HEAD").unlink()
    (applied.repo.path / "HEAD").mkdir()
    assert mend_frame(applied.repo.path) == []
    with pytest.raises(Damaged, match="HEAD"):
        Applied(layout, ALICE).stamp()


async def test_a_file_whose_content_or_commit_is_lost_is_not_a_missing_file(applied: Applied) -> None:
    sha = applied.repo.ref("refs/heads/main")
    assert sha is not None
    with pytest.raises(NotFound):
        await applied.read(sha, "other.toml")
    lose(applied.repo.path, blob(b"").id)
    with pytest.raises(PermanentError) as lost:
        await applied.read(sha, "agent.toml")
    assert not isinstance(lost.value, NotFound)
    lose(applied.repo.path, sha)
    with pytest.raises(Damaged, match=sha[:12]):
        await applied.read(sha, "agent.toml")


async def test_a_lost_tag_is_named_also_if_the_repo_has_packs(applied: Applied) -> None:
    file = blob(b"packed")
    (await applied.repo.stage([file])).place(ProposalId(7))
    assert packs.holds(applied.repo.path, file.id)
    assert not packs.holds(applied.repo.path, "0" * 40)
    assert not examine_refs(applied.repo.path)
    lost = applied.repo.ref("refs/tags/deployed/0")
    assert lost is not None
    lose(applied.repo.path, lost)
    assert [f"its object {lost} is missing" in hurt.text for hurt in examine_refs(applied.repo.path)] == [True]


def replace_by_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("ref", ["refs/tags/deployed/0", "refs/heads/main", "refs/hive/seed"])
async def test_a_pipe_in_the_place_of_a_ref_is_named_and_its_remedy_restores_the_ref(
    applied: Applied, ref: str
) -> None:
    path = applied.repo.path / ref
    before = path.read_bytes()
    replace_by_pipe(path)
    with pytest.raises(Damaged, match=f"{ref} is damaged: it is a pipe") as caught:
        applied.repo.ref(ref)
    assert "hive doctor" in caught.value.hint
    mend(applied.repo.path)
    assert path.read_bytes() == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["HEAD", "config"])
async def test_a_pipe_in_the_place_of_a_file_of_the_frame_is_replaced_at_a_start(applied: Applied, name: str) -> None:
    path = applied.repo.path / name
    before = path.read_bytes()
    replace_by_pipe(path)
    with pytest.raises(Damaged, match=f"{name} is damaged: it is a pipe"):
        check_frame(applied.repo.path)
    assert mend_frame(applied.repo.path) == [path]
    assert path.read_bytes() == before


@pytest.mark.timeout(20)
async def test_a_pipe_in_the_place_of_packed_refs_or_of_an_object_is_named(applied: Applied) -> None:
    name = applied.repo.ref("refs/tags/deployed/0")
    assert name is not None
    replace_by_pipe(applied.repo.path / "objects" / name[:2] / name[2:])
    assert any("it is a pipe" in hurt.text for hurt in examine_refs(applied.repo.path))
    replace_by_pipe(applied.repo.path / "packed-refs")
    with pytest.raises(Damaged, match="packed-refs is damaged: it is a pipe"):
        applied.repo.refs(["refs/heads"])


@pytest.mark.timeout(20)
async def test_a_pipe_in_the_place_of_an_index_of_a_pack_holds_nothing(applied: Applied) -> None:
    (applied.repo.path / "objects/pack").mkdir(exist_ok=True)
    os.mkfifo(applied.repo.path / "objects/pack/pack-1.idx")
    assert not packs.holds(applied.repo.path, "1" * 40)


async def test_what_is_in_a_folder_in_the_place_of_a_ref_is_not_named_as_a_ref(applied: Applied) -> None:
    path = applied.repo.path / "refs/tags/deployed/0"
    path.unlink()
    (path / "inner").mkdir(parents=True)
    (path / "inner/x").write_bytes(b"garbage")
    (hurt,) = examine_refs(applied.repo.path)
    assert f"{path} is damaged: it is a folder" in hurt.text


async def test_a_tag_object_that_is_no_tag_does_not_end_the_examination(applied: Applied) -> None:
    write_objects(applied.repo.path, [GitObject("tag", b"nothing of a tag")])
    path = applied.repo.path / "refs/tags/deployed/0"
    before = path.read_bytes()
    path.write_bytes(b"")
    mend(applied.repo.path)
    assert path.read_bytes() == before
