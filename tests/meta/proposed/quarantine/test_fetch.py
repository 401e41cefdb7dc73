"""Fetching from repositories that mean harm, with real git and real sandboxes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from meta.errors import BadInput, NotFound, Refused, TransientError
from meta.git import packs
from meta.names import ProposalId, Sha
from meta.process import run as process
from meta.process import sandbox
from meta.process.run import Completed
from meta.proposed.quarantine.fetch import Fetched, FetchRequest, fetch
from meta.proposed.quarantine.repo import QuarantineRepo
from tests.support.quarantine_lab import BWRAP, QuarantineLab, Repo, config, made_lab

COMMANDS = ("upload-pack", "fetch", "cat-file", "ls-tree", "rev-list", "pack-objects", "index-pack")
pytestmark = BWRAP


@pytest.fixture
def hive() -> Iterator[QuarantineLab]:
    """A hive and somebody's work tree."""
    with made_lab() as made:
        yield made


async def test_head_arrives_in_the_applied_repo_and_nothing_stays_in_quarantine(hive: QuarantineLab) -> None:
    hive.work.commit({"agent.toml": "model = 2\n"}, "second")
    sha = hive.work.commit({"agent.toml": "model = 3\n"}, "third: \x1b[31mred\n\nwhy")
    fetched = await hive.fetch()
    assert fetched == Fetched(sha, 2, "third: red", "third: red\n\nwhy")
    assert hive.applied.git("show", f"{sha}:agent.toml") == "model = 3"
    assert hive.left_over() == []
    assert hive.applied.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not (hive.applied.path / "FETCH_HEAD").exists()


async def test_a_commit_is_named_by_its_full_or_short_id(hive: QuarantineLab) -> None:
    sha = hive.work.commit({"agent.toml": "a"})
    hive.work.commit({"agent.toml": "b"})
    assert (await hive.fetch(sha)).sha == sha
    assert (await hive.fetch(sha[:9])).sha == sha


async def test_only_what_is_new_is_fetched(hive: QuarantineLab) -> None:
    hive.work.commit({"notes": os.urandom(200_000).hex()})
    assert (await hive.fetch()).commits == 1
    hive.applied.git("update-ref", "refs/heads/main", hive.work.head())
    hive.work.commit({"agent.toml": "b"})
    assert (await hive.fetch(config=config(max_pack_bytes=50_000))).commits == 2


async def test_a_bare_repo_serves_as_well(hive: QuarantineLab, tmp_path: Path) -> None:
    sha = hive.work.commit({"agent.toml": "b"})
    bare = tmp_path / "push.git"
    shutil.copytree(hive.work.path / ".git", bare)
    Repo(bare, hive.work.uid).own()
    assert (await hive.fetch(source=bare)).sha == sha


async def test_the_base_itself_is_fetched_with_no_commits(hive: QuarantineLab) -> None:
    assert (await hive.fetch()).commits == 0


async def test_the_objects_of_each_commit_arrive_as_one_pack(hive: QuarantineLab) -> None:
    sha = hive.work.commit({f"notes/{number}": f"{number}\n" for number in range(150)})
    assert (await hive.fetch()).sha == sha
    assert hive.applied.git("show", f"{sha}:notes/149") == "149"
    few = hive.work.commit({"agent.toml": "few"})
    await hive.fetch()
    assert packs.ids(hive.applied.path) == {1, 2}
    assert hive.applied.git("cat-file", "-t", few) == "commit"
    hive.applied.git("fsck", "--connectivity-only", few)


async def test_a_commit_built_on_another_proposal_stays_whole_when_that_one_is_removed(hive: QuarantineLab) -> None:
    older = hive.work.commit({"notes": os.urandom(100_000).hex()})
    await hive.fetch()
    hive.applied.git("update-ref", "refs/tags/proposal/1", older)
    newer = hive.work.commit({"agent.toml": "b"})
    await hive.fetch()
    hive.applied.git("update-ref", "refs/tags/proposal/2", newer)
    hive.applied.git("update-ref", "-d", "refs/tags/proposal/1")
    assert packs.remove(hive.applied.path, ProposalId(1))
    assert packs.ids(hive.applied.path) == {2}
    assert hive.applied.git("fsck", "--strict", "--full") == ""
    hive.applied.git("rev-list", "--objects", newer)


async def test_objects_that_a_fetch_may_need_are_not_removed_meanwhile(hive: QuarantineLab) -> None:
    hive.work.commit({"agent.toml": "a"})
    await hive.fetch()
    with packs.reading(hive.applied.path):
        assert not packs.remove(hive.applied.path, ProposalId(1))
    assert packs.remove(hive.applied.path, ProposalId(1))


async def test_what_was_fetched_and_not_pinned_is_not_seen_by_git_and_goes(hive: QuarantineLab) -> None:
    sha = hive.work.commit({"agent.toml": "a"})
    request = FetchRequest(hive.work.path, hive.applied.path, None, hive.base)
    fetched = await fetch(request, hive.layout, config())
    assert not hive.has(sha)
    assert fetched.staged is not None
    fetched.staged.discard()
    assert list((hive.applied.path / "objects/pack").iterdir()) == []


async def test_what_a_pack_brings_beside_the_commit_stays_behind(
    hive: QuarantineLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever serves decides what is in the pack that comes into quarantine."""
    strays = []
    before = QuarantineRepo.check

    async def check(self: QuarantineRepo, commit: Sha, base: Sha | None, rebase: str) -> Fetched:
        strays.append(Repo(self.path).git("hash-object", "-w", "--stdin", stdin="stray"))
        return await before(self, commit, base, rebase)

    monkeypatch.setattr(QuarantineRepo, "check", check)
    sha = hive.work.commit({"agent.toml": "b"})
    await hive.fetch()
    held = hive.applied.git("cat-file", "--batch-check", "--batch-all-objects")
    assert sha in held
    assert strays[0] not in held


async def test_a_fetch_starts_few_processes(hive: QuarantineLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that talk, three that check, two that hand over: each costs milliseconds, many on a busy host."""
    started: list[str] = []

    def counting(before: Callable[..., Awaitable[Completed]]) -> Callable[..., Awaitable[Completed]]:
        async def run(argv: Sequence[str], **rest: object) -> Completed:
            started.append(next(word for word in argv if word in COMMANDS))
            return await before(argv, **rest)

        return run

    for module in ("fetch", "repo"):
        monkeypatch.setattr(f"meta.proposed.quarantine.{module}.run", counting(process.run))
    await hive.fetch(hive.work.commit({"agent.toml": "b"}))
    assert sorted(started) == sorted(COMMANDS)


# bad input, each with a clear error
async def test_a_commit_that_does_not_exist_is_not_found(hive: QuarantineLab) -> None:
    for unknown in ("1234567", "f" * 40):
        with pytest.raises(NotFound, match=r"there is no commit (1234567|ffffffffffff) in"):
            await hive.fetch(unknown)
    assert hive.left_over() == []


async def test_a_branch_instead_of_a_commit_is_refused_even_when_it_looks_like_one(hive: QuarantineLab) -> None:
    with pytest.raises(BadInput, match="'main' is no commit id"):
        await hive.fetch("main")
    hive.work.git("branch", "abcdef12")
    with pytest.raises(BadInput, match="abcdef12 is the name of a branch"):
        await hive.fetch("abcdef12")


async def test_a_tag_object_or_a_file_is_no_commit(hive: QuarantineLab) -> None:
    hive.work.git("tag", "-a", "-m", "a tag", "v1")
    for what in ("v1", "HEAD:agent.toml", "HEAD^{tree}"):
        with pytest.raises(BadInput, match="is not a commit"):
            await hive.fetch(hive.work.git("rev-parse", what))


async def test_a_directory_without_a_repo_a_file_and_nothing_at_all_are_told_apart(
    hive: QuarantineLab, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="empty is not a git repo"):
        await hive.fetch(source=tmp_path / "empty")
    with pytest.raises(BadInput, match="file is not a directory"):
        await hive.fetch(source=tmp_path / "file")
    with pytest.raises(NotFound, match=r"there is no repo at .*gone") as caught:
        await hive.fetch(source=tmp_path / "gone")
    assert "hive rebuild" in caught.value.hint


async def test_a_repo_without_a_commit_is_said_to_have_none(hive: QuarantineLab) -> None:
    empty = Repo(hive.root / "unborn", hive.work.uid)
    empty.path.mkdir()
    empty.own()
    empty.git("init", "--quiet", ".")
    with pytest.raises(NotFound, match="there is no commit HEAD in"):
        await hive.fetch(source=empty.path)


async def test_a_corrupted_repo_is_named_as_such(hive: QuarantineLab) -> None:
    hive.work.commit({"agent.toml": "b"})
    blob = hive.work.git("rev-parse", "HEAD:agent.toml")
    path = hive.work.path / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    with pytest.raises(BadInput, match="is corrupted"):
        await hive.fetch()
    assert hive.left_over() == []


async def test_a_missing_object_is_named_as_corruption(hive: QuarantineLab) -> None:
    hive.work.commit({"agent.toml": "b"})
    tree = hive.work.git("rev-parse", "HEAD^{tree}")
    (hive.work.path / ".git/objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(BadInput, match="is corrupted"):
        await hive.fetch()


async def test_a_commit_that_does_not_descend_from_the_base_is_told_to_rebase(hive: QuarantineLab) -> None:
    hive.work.git("checkout", "--quiet", "--orphan", "other")
    hive.work.commit({"agent.toml": "b"})
    with pytest.raises(Refused, match="does not descend from applied/main") as caught:
        await hive.fetch()
    assert "rebase onto applied/main" in caught.value.hint


@pytest.mark.parametrize("name", ["flake.nix", "flake.lock"])
async def test_a_change_of_the_flake_is_refused(hive: QuarantineLab, name: str) -> None:
    hive.work.commit({name: "{ changed = true; }"})
    with pytest.raises(Refused, match=f"changes {name}"):
        await hive.fetch()
    assert not hive.has(hive.work.head())


async def test_removing_the_flake_is_a_change_too(hive: QuarantineLab) -> None:
    hive.work.git("rm", "--quiet", "flake.nix")
    hive.work.commit({})
    with pytest.raises(Refused, match=r"changes flake\.nix"):
        await hive.fetch()


async def test_what_is_over_a_limit_is_refused_with_the_name_of_the_setting(hive: QuarantineLab) -> None:
    hive.work.commit({f"file-{number}": "x" for number in range(20)})
    with pytest.raises(Refused, match="more than 20 files") as caught:
        await hive.fetch(config=config(max_files=20))
    assert "HIVE_MAX_FILES" in caught.value.hint
    hive.work.commit({"large": "x" * 5000})
    with pytest.raises(Refused, match="'large' has 5000 bytes, the limit is 4999") as caught:
        await hive.fetch(config=config(max_file_bytes=4999))
    assert "HIVE_MAX_FILE_BYTES" in caught.value.hint
    assert not hive.has(hive.work.head())


async def test_a_commit_on_one_with_a_top_folder_of_megabytes_is_fetched(hive: QuarantineLab) -> None:
    listed, blob = hive.work.git("ls-tree", "HEAD"), hive.work.git("rev-parse", "HEAD:agent.toml")
    lines = "".join(f"100644 blob {blob}\t{'n' * 245}{number:05}\n" for number in range(9000))
    top = hive.work.git("mktree", stdin=f"{listed}\n{lines}")
    assert int(hive.work.git("cat-file", "-s", top)) > 2**21
    hive.base = (await hive.fetch(Sha(hive.work.git("commit-tree", "-p", hive.base, "-m", "wide", top)))).sha
    other = hive.work.git("mktree", stdin=f"{listed}\n{lines.rpartition('100644')[0]}")
    sha = hive.work.git("commit-tree", "-p", hive.base, "-m", "less wide", other)
    assert (await hive.fetch(sha)).sha == sha


async def test_the_sum_of_the_files_counts_a_shared_blob_once_per_path(hive: QuarantineLab) -> None:
    hive.work.commit({f"file-{number}": "x" * 100 for number in range(20)})
    with pytest.raises(Refused, match="bytes together, the limit is 1999") as caught:
        await hive.fetch(config=config(max_tree_bytes=1999))
    assert "HIVE_MAX_TREE_BYTES" in caught.value.hint


async def test_a_huge_pack_is_cut_off_and_leaves_nothing(hive: QuarantineLab) -> None:
    hive.work.commit({"noise": os.urandom(500_000).hex()})
    with pytest.raises(Refused, match="brings more than 100000 bytes") as caught:
        await hive.fetch(config=config(max_pack_bytes=100_000))
    assert "HIVE_MAX_PACK_BYTES" in caught.value.hint
    assert hive.left_over() == []


async def test_a_tree_of_endless_breadth_is_cut_off(hive: QuarantineLab) -> None:
    tree = hive.work.git("mktree", stdin=f"100644 blob {hive.work.git('rev-parse', 'HEAD:agent.toml')}\tx\n")
    for _ in range(8):
        tree = hive.work.git("mktree", stdin="".join(f"040000 tree {tree}\t{number}\n" for number in range(10)))
    commit = hive.work.git("commit-tree", "-p", hive.base, "-m", "bomb", tree)
    with pytest.raises(Refused, match="more than 10000 files"):
        await hive.fetch(commit)


async def test_a_fetch_that_takes_too_long_may_be_tried_again(hive: QuarantineLab) -> None:
    with pytest.raises(TransientError, match=r"longer than 0\.001 s") as caught:
        await hive.fetch(hive.work.head(), config=config(fetch_deadline=0.001))
    assert "HIVE_FETCH_DEADLINE" in caught.value.hint
    assert hive.left_over() == []


async def test_without_bubblewrap_nothing_is_opened(hive: QuarantineLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "available", lambda: None)
    for commit in (None, hive.work.head()):
        with pytest.raises(Refused, match="bubblewrap") as caught:
            await hive.fetch(commit)
        assert "apt-get install bubblewrap" in caught.value.hint


async def test_a_full_disk_is_a_transient_error(hive: QuarantineLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(TransientError, match="no space left"):
        await hive.fetch()


async def test_a_shallow_clone_is_told_to_fetch_the_rest(hive: QuarantineLab) -> None:
    hive.work.commit({"agent.toml": "b"})
    hive.work.commit({"agent.toml": "c"})
    (hive.work.path / ".git/shallow").write_text(hive.work.git("rev-parse", "HEAD~1") + "\n")
    with pytest.raises(BadInput, match="is a shallow clone"):
        await hive.fetch()


# trees that mean harm
def tree_with(hive: QuarantineLab, entry: str) -> Sha:
    """A commit whose tree has one entry more, made with plumbing that checks nothing."""
    listing = hive.work.git("ls-tree", "HEAD") + f"\n{entry}\n"
    tree = hive.work.git("mktree", "--missing", stdin=listing)
    return Sha(hive.work.git("commit-tree", "-p", "HEAD", "-m", "harm", tree))


async def test_a_submodule_is_refused(hive: QuarantineLab) -> None:
    with pytest.raises(Refused, match="'mod' is a submodule"):
        await hive.fetch(tree_with(hive, f"160000 commit {hive.base}\tmod"))


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
async def test_a_symlink_that_leads_out_is_refused(hive: QuarantineLab, target: str, fault: str) -> None:
    (hive.work.path / "link").symlink_to(target)
    hive.work.commit({"agent.toml": "b"})
    with pytest.raises(Refused, match=f"the symlink 'link' {fault}"):
        await hive.fetch()
    assert not hive.has(hive.work.head())


async def test_a_symlink_within_the_tree_is_welcome(hive: QuarantineLab) -> None:
    (hive.work.path / "prompts").mkdir()
    (hive.work.path / "prompts/link").symlink_to("../agent.toml")
    sha = hive.work.commit({"agent.toml": "b"})
    assert (await hive.fetch()).sha == sha


def raw_tree(hive: QuarantineLab, name: bytes) -> Sha:
    """A commit whose tree has a file of a name that git itself would never write."""
    blob = bytes.fromhex(hive.work.git("rev-parse", "HEAD:agent.toml"))
    (hive.work.path / ".git/raw").write_bytes(b"100644 " + name + b"\0" + blob)
    hive.work.own()
    tree = hive.work.git("hash-object", "-t", "tree", "-w", "--literally", ".git/raw")
    return Sha(hive.work.git("commit-tree", "-p", "HEAD", "-m", "harm", tree))


@pytest.mark.parametrize(
    "name", [b"..", b".git", b".GIT", b"git~1", b"a/b", b"new\nline", b"esc\x1b[2J", b"\xff", "\u009b31m".encode()]
)
async def test_an_odd_path_is_refused(hive: QuarantineLab, name: bytes) -> None:
    with pytest.raises((Refused, BadInput), match=r"the path .* is refused|is corrupted"):
        await hive.fetch(raw_tree(hive, name))


@pytest.mark.parametrize(
    ("files", "settings"),
    [({"agent.toml": "a = 1"}, b"a = 1"), ({"agent.toml": ""}, b""), ({"agent.toml": "x" * 300_000}, None)],
)
async def test_the_settings_of_a_commit_come_with_it_unless_they_are_far_too_long(
    hive: QuarantineLab, files: dict[str, str], settings: bytes | None
) -> None:
    assert (await hive.fetch(hive.work.commit(files))).settings == settings


async def test_settings_that_are_longer_than_all_that_is_read_at_once_hide_nothing_else(hive: QuarantineLab) -> None:
    fetched = await hive.fetch(hive.work.commit({"agent.toml": "x" * 8_000_000}))
    assert fetched.settings is None and fetched.commits == 1
