"""What no ref of a push repo reaches gives its disk back, and nothing that a push needs is removed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.config import Config
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName
from meta.proposed import push_check, push_objects, push_prune, push_repo

pytestmark = pytest.mark.bwrap
ALICE = AgentName("alice")
Git = Callable[..., str]
SIZE = 300_000


@pytest.fixture
def repo(layout: Layout) -> Path:
    """alice's push repo, as hive makes it."""
    layout.state.mkdir(parents=True, exist_ok=True)
    push_repo.create(layout, ALICE, Config())
    return layout.push_repo(ALICE)


@pytest.fixture
def clone(tmp_path: Path, git: Git) -> Path:
    """A repo with one commit."""
    path = tmp_path / "clone"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    git(path, "commit", "-q", "--allow-empty", "-m", "first")
    return path


def push(git: Git, clone: Path, repo: Path, files: int = 1, to: str = "den") -> None:
    """Force-push one commit with SIZE random bytes on top of the first."""
    git(clone, "reset", "-q", "--hard", git(clone, "rev-list", "--max-parents=0", "HEAD"))
    for number in range(files):
        (clone / f"big{number}").write_bytes(os.urandom(SIZE // files))
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "big")
    git(clone, "push", "-q", "-f", str(repo), f"HEAD:refs/heads/{to}")


def age(repo: Path, seconds: float = push_prune.EXPIRE + 60) -> None:
    """Make everything in `objects` older."""
    for path in (repo / "objects").rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def size(repo: Path) -> int:
    return sum(path.stat().st_size for path in (repo / "objects").rglob("*") if path.is_file())


async def prune(layout: Layout, state: str = "") -> push_prune.Pruned | None:
    return await push_prune.prune(layout, ALICE, Config(), time.time(), state)


@pytest.mark.parametrize("files", [1, 150])  # loose objects, and a pack
async def test_only_the_last_of_three_force_pushes_keeps_its_objects(
    layout: Layout, repo: Path, clone: Path, git: Git, files: int
) -> None:
    for _ in range(3):
        push(git, clone, repo, files)
    age(repo)
    assert size(repo) > 3 * SIZE
    pruned = await prune(layout)
    assert pruned is not None
    assert pruned.removed.size > 2 * SIZE
    assert size(repo) < 1.5 * SIZE + 100_000
    git(repo, "-c", "safe.directory=*", "fsck", "--full", "--strict")
    assert push_check.fault(repo, os.geteuid()) is None
    push(git, clone, repo, files)


@pytest.mark.parametrize("files", [1, 150])
async def test_a_deleted_branch_gives_all_its_disk_back(
    layout: Layout, repo: Path, clone: Path, git: Git, files: int
) -> None:
    push(git, clone, repo, files)
    git(clone, "push", "-q", str(repo), "--delete", "den")
    age(repo)
    await prune(layout)
    assert size(repo) == 0


async def test_what_is_young_stays(layout: Layout, repo: Path, clone: Path, git: Git) -> None:
    push(git, clone, repo)
    git(clone, "push", "-q", str(repo), "--delete", "den")
    age(repo, push_prune.EXPIRE - 60)
    pruned = await prune(layout)
    assert pruned is not None
    assert pruned.removed.files == 0
    assert size(repo) > SIZE


async def test_nothing_is_removed_while_a_process_works_in_the_repo(
    layout: Layout, repo: Path, clone: Path, git: Git
) -> None:
    push(git, clone, repo)
    git(clone, "push", "-q", str(repo), "--delete", "den")
    age(repo)
    with subprocess.Popen(["cat"], cwd=repo, stdin=subprocess.PIPE) as process:
        assert await prune(layout) is None
        process.communicate()
    await prune(layout)
    assert size(repo) == 0


async def test_a_ref_that_cannot_be_read_keeps_everything(layout: Layout, repo: Path, clone: Path, git: Git) -> None:
    push(git, clone, repo)
    (repo / "refs/heads/den").write_text("")
    age(repo)
    with pytest.raises(HiveError):
        await prune(layout)
    assert size(repo) > SIZE


async def test_what_a_killed_push_left_is_removed(layout: Layout, repo: Path) -> None:
    incoming = repo / "objects/tmp_objdir-incoming-abc123/pack"
    incoming.mkdir(parents=True)
    (incoming / "tmp_pack_XXXXXX").write_bytes(b"x" * SIZE)
    (repo / "objects/pack/tmp_pack_YYYYYY").write_bytes(b"x" * SIZE)
    age(repo)
    await prune(layout)
    assert sorted(path.name for path in (repo / "objects").iterdir()) == ["info", "pack"]
    assert size(repo) == 0


async def test_a_push_that_still_writes_keeps_what_it_wrote(layout: Layout, repo: Path) -> None:
    incoming = repo / "objects/tmp_objdir-incoming-abc123/pack"
    incoming.mkdir(parents=True)
    (incoming / "tmp_pack_XXXXXX").write_bytes(b"x")
    age(repo)
    (incoming / "tmp_pack_XXXXXX").write_bytes(b"xx")
    await prune(layout)
    assert (incoming / "tmp_pack_XXXXXX").exists()


async def test_a_repo_that_is_not_as_hive_made_it_is_left_alone(
    layout: Layout, repo: Path, clone: Path, git: Git
) -> None:
    push(git, clone, repo)
    git(clone, "push", "-q", str(repo), "--delete", "den")
    age(repo)
    (repo / "hooks").mkdir()
    assert await prune(layout) is None
    assert size(repo) > SIZE


async def test_no_symlink_is_followed(layout: Layout, repo: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ("0" * 38)).write_bytes(b"mine")
    (repo / "objects/ab").symlink_to(outside)
    assert push_objects.read(repo) == ()
    dead = push_objects.ObjectFile("ab", "0" * 38, 4, (outside / ("0" * 38)).stat().st_mtime)
    assert push_objects.remove(repo, [dead]).files == 0
    assert (outside / ("0" * 38)).exists()


async def test_a_second_look_at_the_same_repo_starts_no_git(
    layout: Layout, repo: Path, clone: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(git, clone, repo)
    age(repo)
    first = await prune(layout)
    assert first is not None
    monkeypatch.setattr(push_prune, "run", None)
    assert await prune(layout, first.state) == first
