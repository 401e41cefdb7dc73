"""Fetching from repositories that mean harm, with real git and real sandboxes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from meta.errors import BadInput, NotFound, Refused, TransientError
from meta.names import Sha
from meta.process import run as process
from meta.process import sandbox
from meta.process.run import Completed
from meta.proposed.quarantine.fetch import Fetched
from meta.proposed.quarantine.repo import QuarantineRepo
from tests.support.quarantine_lab import BWRAP, Lab, Repo, config, made_lab

COMMANDS = ("upload-pack", "fetch", "cat-file", "ls-tree", "rev-list", "pack-objects", "unpack-objects")
pytestmark = BWRAP


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A hive and somebody's work tree."""
    with made_lab() as made:
        yield made


async def test_head_arrives_in_the_applied_repo_and_nothing_stays_in_quarantine(lab: Lab) -> None:
    lab.work.commit({"agent.toml": "model = 2\n"}, "second")
    sha = lab.work.commit({"agent.toml": "model = 3\n"}, "third: \x1b[31mred\n\nwhy")
    fetched = await lab.fetch()
    assert fetched == Fetched(sha, 2, "third: red", "third: red\n\nwhy")
    assert lab.applied.git("show", f"{sha}:agent.toml") == "model = 3"
    assert lab.left_over() == []
    assert lab.applied.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not (lab.applied.path / "FETCH_HEAD").exists()


async def test_a_commit_is_named_by_its_full_or_short_id(lab: Lab) -> None:
    sha = lab.work.commit({"agent.toml": "a"})
    lab.work.commit({"agent.toml": "b"})
    assert (await lab.fetch(sha)).sha == sha
    assert (await lab.fetch(sha[:9])).sha == sha


async def test_only_what_is_new_is_fetched(lab: Lab) -> None:
    lab.work.commit({"notes": os.urandom(200_000).hex()})
    assert (await lab.fetch()).commits == 1
    lab.applied.git("update-ref", "refs/heads/main", lab.work.head())
    lab.work.commit({"agent.toml": "b"})
    assert (await lab.fetch(config=config(max_pack_bytes=50_000))).commits == 2


async def test_a_bare_repo_serves_as_well(lab: Lab, tmp_path: Path) -> None:
    sha = lab.work.commit({"agent.toml": "b"})
    bare = tmp_path / "push.git"
    shutil.copytree(lab.work.path / ".git", bare)
    Repo(bare, lab.work.uid).own()
    assert (await lab.fetch(source=bare)).sha == sha


async def test_the_base_itself_is_fetched_with_no_commits(lab: Lab) -> None:
    assert (await lab.fetch()).commits == 0


async def test_many_objects_arrive_as_one_pack_and_few_loose(lab: Lab) -> None:
    sha = lab.work.commit({f"notes/{number}": f"{number}\n" for number in range(150)})
    assert (await lab.fetch()).sha == sha
    assert lab.applied.git("show", f"{sha}:notes/149") == "149"
    assert len(list((lab.applied.path / "objects/pack").glob("*.pack"))) == 1
    few = lab.work.commit({"agent.toml": "few"})
    await lab.fetch()
    assert lab.applied.git("cat-file", "-t", few) == "commit"
    lab.applied.git("fsck", "--connectivity-only", few)


async def test_what_a_pack_brings_beside_the_commit_stays_behind(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever serves decides what is in the pack that comes into quarantine."""
    strays = []
    before = QuarantineRepo.check

    async def check(self: QuarantineRepo, commit: Sha, base: Sha | None, rebase: str) -> Fetched:
        strays.append(Repo(self.path).git("hash-object", "-w", "--stdin", stdin="stray"))
        return await before(self, commit, base, rebase)

    monkeypatch.setattr(QuarantineRepo, "check", check)
    sha = lab.work.commit({"agent.toml": "b"})
    await lab.fetch()
    held = lab.applied.git("cat-file", "--batch-check", "--batch-all-objects")
    assert sha in held
    assert strays[0] not in held


async def test_a_fetch_starts_few_processes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that talk, three that check, two that hand over: each costs milliseconds, many on a busy host."""
    started: list[str] = []

    def counting(before: Callable[..., Awaitable[Completed]]) -> Callable[..., Awaitable[Completed]]:
        async def run(argv: Sequence[str], **rest: object) -> Completed:
            started.append(next(word for word in argv if word in COMMANDS))
            return await before(argv, **rest)

        return run

    for module in ("fetch", "repo"):
        monkeypatch.setattr(f"meta.proposed.quarantine.{module}.run", counting(process.run))
    await lab.fetch(lab.work.commit({"agent.toml": "b"}))
    assert sorted(started) == sorted(COMMANDS)


# bad input, each with a clear error
async def test_a_commit_that_does_not_exist_is_not_found(lab: Lab) -> None:
    for unknown in ("1234567", "f" * 40):
        with pytest.raises(NotFound, match=r"there is no commit (1234567|ffffffffffff) in"):
            await lab.fetch(unknown)
    assert lab.left_over() == []


async def test_a_branch_instead_of_a_commit_is_refused_even_when_it_looks_like_one(lab: Lab) -> None:
    with pytest.raises(BadInput, match="'main' is no commit id"):
        await lab.fetch("main")
    lab.work.git("branch", "abcdef12")
    with pytest.raises(BadInput, match="abcdef12 is the name of a branch"):
        await lab.fetch("abcdef12")


async def test_a_tag_object_or_a_file_is_no_commit(lab: Lab) -> None:
    lab.work.git("tag", "-a", "-m", "a tag", "v1")
    for what in ("v1", "HEAD:agent.toml", "HEAD^{tree}"):
        with pytest.raises(BadInput, match="is not a commit"):
            await lab.fetch(lab.work.git("rev-parse", what))


async def test_a_directory_without_a_repo_a_file_and_nothing_at_all_are_told_apart(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="empty is not a git repo"):
        await lab.fetch(source=tmp_path / "empty")
    with pytest.raises(BadInput, match="file is not a directory"):
        await lab.fetch(source=tmp_path / "file")
    with pytest.raises(NotFound, match=r"there is no repo at .*gone") as caught:
        await lab.fetch(source=tmp_path / "gone")
    assert "hive rebuild" in caught.value.hint


async def test_a_repo_without_a_commit_is_said_to_have_none(lab: Lab) -> None:
    empty = Repo(lab.root / "unborn", lab.work.uid)
    empty.path.mkdir()
    empty.own()
    empty.git("init", "--quiet", ".")
    with pytest.raises(NotFound, match="there is no commit HEAD in"):
        await lab.fetch(source=empty.path)


async def test_a_corrupted_repo_is_named_as_such(lab: Lab) -> None:
    lab.work.commit({"agent.toml": "b"})
    blob = lab.work.git("rev-parse", "HEAD:agent.toml")
    path = lab.work.path / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    with pytest.raises(BadInput, match="is corrupted"):
        await lab.fetch()
    assert lab.left_over() == []


async def test_a_missing_object_is_named_as_corruption(lab: Lab) -> None:
    lab.work.commit({"agent.toml": "b"})
    tree = lab.work.git("rev-parse", "HEAD^{tree}")
    (lab.work.path / ".git/objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(BadInput, match="is corrupted"):
        await lab.fetch()


async def test_a_commit_that_does_not_descend_from_the_base_is_told_to_rebase(lab: Lab) -> None:
    lab.work.git("checkout", "--quiet", "--orphan", "other")
    lab.work.commit({"agent.toml": "b"})
    with pytest.raises(Refused, match="does not descend from applied/main") as caught:
        await lab.fetch()
    assert "rebase onto applied/main" in caught.value.hint


@pytest.mark.parametrize("name", ["flake.nix", "flake.lock"])
async def test_a_change_of_the_flake_is_refused(lab: Lab, name: str) -> None:
    lab.work.commit({name: "{ changed = true; }"})
    with pytest.raises(Refused, match=f"changes {name}"):
        await lab.fetch()
    assert not lab.has(lab.work.head())


async def test_removing_the_flake_is_a_change_too(lab: Lab) -> None:
    lab.work.git("rm", "--quiet", "flake.nix")
    lab.work.commit({})
    with pytest.raises(Refused, match=r"changes flake\.nix"):
        await lab.fetch()


async def test_what_is_over_a_limit_is_refused_with_the_name_of_the_setting(lab: Lab) -> None:
    lab.work.commit({f"file-{number}": "x" for number in range(20)})
    with pytest.raises(Refused, match="more than 20 files") as caught:
        await lab.fetch(config=config(max_files=20))
    assert "HIVE_MAX_FILES" in caught.value.hint
    lab.work.commit({"large": "x" * 5000})
    with pytest.raises(Refused, match="'large' has 5000 bytes, the limit is 4999") as caught:
        await lab.fetch(config=config(max_file_bytes=4999))
    assert "HIVE_MAX_FILE_BYTES" in caught.value.hint
    assert not lab.has(lab.work.head())


async def test_the_sum_of_the_files_counts_a_shared_blob_once_per_path(lab: Lab) -> None:
    lab.work.commit({f"file-{number}": "x" * 100 for number in range(20)})
    with pytest.raises(Refused, match="bytes together, the limit is 1999") as caught:
        await lab.fetch(config=config(max_tree_bytes=1999))
    assert "HIVE_MAX_TREE_BYTES" in caught.value.hint


async def test_a_huge_pack_is_cut_off_and_leaves_nothing(lab: Lab) -> None:
    lab.work.commit({"noise": os.urandom(500_000).hex()})
    with pytest.raises(Refused, match="brings more than 100000 bytes") as caught:
        await lab.fetch(config=config(max_pack_bytes=100_000))
    assert "HIVE_MAX_PACK_BYTES" in caught.value.hint
    assert lab.left_over() == []


async def test_a_tree_of_endless_breadth_is_cut_off(lab: Lab) -> None:
    tree = lab.work.git("mktree", stdin=f"100644 blob {lab.work.git('rev-parse', 'HEAD:agent.toml')}\tx\n")
    for _ in range(8):
        tree = lab.work.git("mktree", stdin="".join(f"040000 tree {tree}\t{number}\n" for number in range(10)))
    commit = lab.work.git("commit-tree", "-p", lab.base, "-m", "bomb", tree)
    with pytest.raises(Refused, match="more than 10000 files"):
        await lab.fetch(commit)


async def test_a_fetch_that_takes_too_long_may_be_tried_again(lab: Lab) -> None:
    with pytest.raises(TransientError, match=r"longer than 0\.001 s") as caught:
        await lab.fetch(lab.work.head(), config=config(fetch_deadline=0.001))
    assert "HIVE_FETCH_DEADLINE" in caught.value.hint
    assert lab.left_over() == []


async def test_without_bubblewrap_nothing_is_opened(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "available", lambda: None)
    for commit in (None, lab.work.head()):
        with pytest.raises(Refused, match="bubblewrap") as caught:
            await lab.fetch(commit)
        assert "apt-get install bubblewrap" in caught.value.hint


async def test_a_full_disk_is_a_transient_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(TransientError, match="no space left"):
        await lab.fetch()


async def test_a_shallow_clone_is_told_to_fetch_the_rest(lab: Lab) -> None:
    lab.work.commit({"agent.toml": "b"})
    lab.work.commit({"agent.toml": "c"})
    (lab.work.path / ".git/shallow").write_text(lab.work.git("rev-parse", "HEAD~1") + "\n")
    with pytest.raises(BadInput, match="is a shallow clone"):
        await lab.fetch()


# trees that mean harm
def tree_with(lab: Lab, entry: str) -> Sha:
    """A commit whose tree has one entry more, made with plumbing that checks nothing."""
    listing = lab.work.git("ls-tree", "HEAD") + f"\n{entry}\n"
    tree = lab.work.git("mktree", "--missing", stdin=listing)
    return Sha(lab.work.git("commit-tree", "-p", "HEAD", "-m", "harm", tree))


async def test_a_submodule_is_refused(lab: Lab) -> None:
    with pytest.raises(Refused, match="'mod' is a submodule"):
        await lab.fetch(tree_with(lab, f"160000 commit {lab.base}\tmod"))


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("/etc/passwd", "is absolute"),
        ("../secret", "leaves the tree"),
        ("agent.toml/../../secret", "has '..' after a name"),
        (".git/config", "has an invalid target"),
        ("bad\x07bell", "has an invalid target"),
    ],
)
async def test_a_symlink_that_leads_out_is_refused(lab: Lab, target: str, fault: str) -> None:
    (lab.work.path / "link").symlink_to(target)
    lab.work.commit({"agent.toml": "b"})
    with pytest.raises(Refused, match=f"the symlink 'link' {fault}"):
        await lab.fetch()
    assert not lab.has(lab.work.head())


async def test_a_symlink_within_the_tree_is_welcome(lab: Lab) -> None:
    (lab.work.path / "prompts").mkdir()
    (lab.work.path / "prompts/link").symlink_to("../agent.toml")
    sha = lab.work.commit({"agent.toml": "b"})
    assert (await lab.fetch()).sha == sha


def raw_tree(lab: Lab, name: bytes) -> Sha:
    """A commit whose tree has a file of a name that git itself would never write."""
    blob = bytes.fromhex(lab.work.git("rev-parse", "HEAD:agent.toml"))
    (lab.work.path / ".git/raw").write_bytes(b"100644 " + name + b"\0" + blob)
    lab.work.own()
    tree = lab.work.git("hash-object", "-t", "tree", "-w", "--literally", ".git/raw")
    return Sha(lab.work.git("commit-tree", "-p", "HEAD", "-m", "harm", tree))


@pytest.mark.parametrize(
    "name", [b"..", b".git", b".GIT", b"git~1", b"a/b", b"new\nline", b"esc\x1b[2J", b"\xff", "\u009b31m".encode()]
)
async def test_an_odd_path_is_refused(lab: Lab, name: bytes) -> None:
    with pytest.raises((Refused, BadInput), match=r"the path .* is refused|is corrupted"):
        await lab.fetch(raw_tree(lab, name))
