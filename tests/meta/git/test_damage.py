"""What is there and cannot be understood is damaged, never absent; the remedy that is named mends it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source, SourceKind
from meta.desired.repo import MetaRepo
from meta.errors import Damaged, HiveError
from meta.git.damage import examine_refs
from meta.git.files import read_loose, write_objects
from meta.git.frame import mend_frame
from meta.git.objects import blob
from meta.layout import Layout
from meta.model import DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha

ALICE, ZERO = AgentName("alice"), ProposalId(0)
SPOILT = {"empty": b"", "garbage": b"garbage\n", "cut short": b"0123456789abcdef"}

spoilt = pytest.mark.parametrize("content", SPOILT.values(), ids=SPOILT.keys())


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


@pytest.fixture
async def meta(layout: Layout) -> MetaRepo:
    """A meta repo in which something was committed."""
    repo = MetaRepo(layout)
    await repo.create(1)
    await repo.set_run(ALICE, lambda run: replace(run, restarts=1), by="operator", at=2)
    return repo


def mend(git_dir: Path) -> None:
    """Do what the remedy of each damaged ref says."""
    for hurt in examine_refs(git_dir):
        subprocess.run(["sh", "-c", hurt.remedy.partition(" (")[0]], check=True, timeout=10)


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

    monkeypatch.setattr("pathlib.Path.read_text", refuse(Path.read_text))
    monkeypatch.setattr("os.listdir", refuse(__import__("os").listdir))
    with pytest.raises(Damaged, match="Input/output error"):
        look(applied)
