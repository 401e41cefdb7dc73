"""The one user of GitPython: hive's own repos."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.errors import BadInput, Conflict, NotFound, TransientError
from meta.git.config import CONFIG
from meta.git.files import remove_stale_locks
from meta.git.objects import SYMLINK, blob, commit, snapshot
from meta.git.repo import FileAt, GitRepo
from meta.git.transaction import ABSENT, RefChange
from meta.names import Sha
from tests.meta.git.commits import add_commit

Git = Callable[..., str]
MAIN = "refs/heads/main"


# making
async def test_a_new_repo_is_bare_and_runs_nothing_by_itself(repo: GitRepo, git: Git) -> None:
    assert git(repo.path, "rev-parse", "--is-bare-repository") == "true"
    assert git(repo.path, "symbolic-ref", "HEAD") == MAIN
    assert git(repo.path, "config", "core.fsync") == "all"
    assert git(repo.path, "config", "gc.auto") == "0"
    assert git(repo.path, "config", "core.hooksPath") == "/dev/null"
    assert not (repo.path / "hooks").exists()


@pytest.mark.parametrize("damage", ["config", "config.lock", "HEAD", "half"])
async def test_a_repo_whose_making_was_cut_short_is_completed(tmp_path: Path, damage: str) -> None:
    repo = GitRepo(tmp_path / ".git")
    if damage == "half":
        (repo.path / "objects").mkdir(parents=True)
    else:
        await repo.init()
        (repo.path / "config").write_text("[core]\n\tbare")
        (repo.path / damage).unlink(missing_ok=True)
        if damage.endswith(".lock"):
            (repo.path / damage).touch()
    assert not repo.present()
    await repo.init()
    assert repo.present()
    assert (repo.path / "config").read_text() == CONFIG
    await add_commit(repo, {"a": b""})


async def test_making_a_repo_again_keeps_its_refs(repo: GitRepo) -> None:
    sha = await add_commit(repo, {"a": b""})
    await repo.transaction([RefChange(MAIN, new=sha, old=ABSENT)])
    await repo.init()
    assert repo.ref(MAIN) == sha


# refs
async def test_a_transaction_moves_all_refs_or_none(repo: GitRepo) -> None:
    sha = await add_commit(repo, {"a": b""})
    await repo.transaction([RefChange("refs/tags/a", new=sha, old=ABSENT)])
    with pytest.raises(Conflict, match="refs/tags/a"):
        await repo.transaction(
            [RefChange("refs/tags/b", new=sha, old=ABSENT), RefChange("refs/tags/a", new=sha, old=ABSENT)]
        )
    assert repo.refs(["refs/tags"]) == {"refs/tags/a": sha}


async def test_a_ref_that_is_elsewhere_is_a_conflict(repo: GitRepo) -> None:
    one, two = await add_commit(repo, {"a": b"1"}), await add_commit(repo, {"a": b"2"})
    await repo.transaction([RefChange(MAIN, new=one, old=ABSENT)])
    for change in (
        RefChange(MAIN, new=two, old=two),
        RefChange(MAIN, old=two),
        RefChange(MAIN, old=ABSENT),
        RefChange(MAIN, new=ABSENT, old=two),
        RefChange("refs/heads/none", old=one),
        RefChange("refs/heads/none", new=two, old=one),
    ):
        with pytest.raises(Conflict):
            await repo.transaction([change])
    assert repo.refs(["refs/heads"]) == {MAIN: one}
    await repo.transaction([RefChange(MAIN, new=ABSENT, old=one)])
    assert repo.refs(["refs/heads"]) == {}


async def test_a_ref_that_another_git_holds_locked_is_transient(repo: GitRepo) -> None:
    sha = await add_commit(repo, {"a": b""})
    (repo.path / "refs/heads/main.lock").touch()
    with pytest.raises(TransientError, match=r"main\.lock"):
        await repo.transaction([RefChange(MAIN, new=sha, old=ABSENT)])
    assert remove_stale_locks(repo.path) == [repo.path / "refs/heads/main.lock"]
    await repo.transaction([RefChange(MAIN, new=sha, old=ABSENT)])


async def test_a_ref_name_that_could_be_a_command_is_refused(repo: GitRepo) -> None:
    sha = await add_commit(repo, {"a": b""})
    for name in (f"refs/heads/x {sha}\ndelete refs/heads/main", "HEAD", "refs/../x", "refs/heads/", "refs/heads/-x"):
        with pytest.raises(BadInput):
            await repo.transaction([RefChange(name, new=sha)])


async def test_packed_refs_and_objects_are_read_as_loose_ones(repo: GitRepo, git: Git) -> None:
    sha = await add_commit(repo, {"a/b": b"text"})
    await repo.transaction([RefChange(MAIN, new=sha), RefChange("refs/tags/x/1", new=sha)])
    git(repo.path, "pack-refs", "--all")
    git(repo.path, "repack", "-adq")
    git(repo.path, "prune-packed")
    assert repo.refs(["refs/heads"]) == {MAIN: sha}
    assert repo.refs(["refs/tags/x"]) == {"refs/tags/x/1": sha}
    assert repo.ref(MAIN) == sha
    assert await repo.has(sha)
    assert await repo.files(sha) == {"a/b": FileAt(0o100644, b"text")}


# reading
async def test_files_come_with_mode_and_exact_bytes(repo: GitRepo) -> None:
    root, objects = snapshot(
        {"run": b"\0\xff", "link": b"/etc/passwd", "a b/é": b""}, {"run": 0o100755, "link": SYMLINK}
    )
    made = commit(root, (), "x", 1)
    await repo.transaction([], [*objects, made])
    assert await repo.files(made.id) == {
        "run": FileAt(0o100755, b"\0\xff"),
        "link": FileAt(SYMLINK, b"/etc/passwd"),
        "a b/é": FileAt(0o100644, b""),
    }
    assert await repo.read(made.id, "a b/é") == b""
    with pytest.raises(NotFound):
        await repo.read(made.id, "none")


async def test_a_commit_is_found_by_its_beginning(repo: GitRepo) -> None:
    sha = await add_commit(repo, {"a": b""})
    assert await repo.resolve(sha[:8]) == sha
    for wrong in ("0" * 40, "abcdef0"):
        with pytest.raises(NotFound, match="there is no commit"):
            await repo.resolve(wrong)


async def test_a_tag_named_like_a_commit_id_is_not_taken_for_it(repo: GitRepo, git: Git) -> None:
    sha = await add_commit(repo, {"a": b""})
    git(repo.path, "tag", "deadbeef", sha)
    with pytest.raises(NotFound):
        await repo.resolve("deadbeef")


async def test_ancestry_and_log(repo: GitRepo) -> None:
    one = await add_commit(repo, {"a": b"1"}, message="one\n\nbody\n")
    two = await add_commit(repo, {"a": b"2"}, (one,), message="two")
    other = await add_commit(repo, {"a": b"3"})
    assert await repo.is_ancestor(one, two)
    assert await repo.is_ancestor(two, two)
    assert not await repo.is_ancestor(two, one)
    assert not await repo.is_ancestor(other, two)
    with pytest.raises(NotFound):
        await repo.is_ancestor(Sha("1" * 40), two)
    assert [entry.sha for entry in await repo.log(two)] == [two, one]
    assert [entry.message.strip() for entry in await repo.log(two, one)] == ["two"]
    assert (await repo.log(one))[0].parents == ()


async def test_subjects_of_any_length_are_read_up_to_a_limit(repo: GitRepo) -> None:
    one = await add_commit(repo, {"a": b"1"}, message="one\n\nbody\n")
    two = await add_commit(repo, {"a": b"2"}, (one,), message="x" * 3 * 2**20)
    three = await add_commit(repo, {"a": b"3"}, (two,), message="y" * 3 * 2**20)
    four = await add_commit(repo, {"a": b"4"}, (three,), message="four")
    assert await repo.subjects(one, None, 10) == ("one",)
    subjects = await repo.subjects(four, None, 10)
    assert [subject[:5] for subject in subjects] == ["four", "yyyyy", "[the "]


async def test_a_diff_runs_no_program_that_configuration_or_attributes_name(
    repo: GitRepo, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap, ran = tmp_path / "trap", tmp_path / "ran"
    trap.write_text(f"#!/bin/sh\ntouch {ran}\n")
    trap.chmod(0o755)
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(trap))
    for key in ("diff.external", "diff.t.command", "diff.t.textconv", "core.fsmonitor", "core.pager"):
        git(repo.path, "config", key, str(trap))
    one = await add_commit(repo, {".gitattributes": b"* diff=t\n", "a": b"1\n"})
    two = await add_commit(repo, {".gitattributes": b"* diff=t\n", "a": b"2\n"}, (one,))
    text = (await repo.diff(one, two)).patch
    assert "-1\n+2" in text
    assert not ran.exists()


@pytest.mark.parametrize("attributes", [b"", b"* -diff\n", b"* binary\n"])
async def test_neither_a_nul_byte_nor_an_attribute_hides_a_script_from_its_diff(
    repo: GitRepo, attributes: bytes
) -> None:
    one = await add_commit(repo, {".gitattributes": attributes, "run": b"#!/bin/sh\n"})
    two = await add_commit(repo, {".gitattributes": attributes, "run": b"#!/bin/sh\n#\0\nrm -rf /\n"}, (one,))
    text = (await repo.diff(one, two)).patch
    assert "+rm -rf /" in text
    assert "Binary files" not in text


async def test_the_environment_cannot_point_git_elsewhere(
    repo: GitRepo, tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = GitRepo(tmp_path / "other" / ".git")
    await other.init()
    for key in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE"):
        monkeypatch.setenv(key, str(other.path))
    monkeypatch.setenv("GIT_NAMESPACE", "elsewhere")
    sha = await add_commit(repo, {"a": b""})
    await repo.transaction([RefChange(MAIN, new=sha)])
    assert repo.ref(MAIN) == sha
    assert await repo.files(sha) == {"a": FileAt(0o100644, b"")}
    assert other.refs(["refs/heads"]) == {}


# failures
async def test_a_missing_repo_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not a git repo"):
        await GitRepo(tmp_path / "none").log(Sha("1" * 40))


async def test_a_command_that_hangs_is_ended_at_its_deadline(
    repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    hasty = GitRepo(repo.path, deadline=0.2)
    with pytest.raises(TransientError, match="deadline"):
        await hasty.log(Sha("1" * 40))


async def test_a_full_disk_while_writing_an_object_is_transient_and_leaves_nothing(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    item = blob(b"text")
    with monkeypatch.context() as patch:
        patch.setattr("meta.git.files.os.fsync", full)
        with pytest.raises(TransientError, match="No space left"):
            await repo.transaction([], [item])
    assert [path for path in repo.path.rglob("*") if path.is_file() and "objects" in path.parts] == []
    await repo.transaction([], [item])
    assert (await repo.objects([item.id]))[item.id] == item


async def test_a_cancelled_caller_waits_until_git_has_ended(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = await add_commit(repo, {"a": b""})
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    execute = GitRepo._execute

    def slow(self: GitRepo, program: object, argv: list[str], stdin: bytes | None) -> tuple[int, bytes, str]:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(10)
        return execute(self, program, argv, stdin)  # type: ignore[arg-type]

    monkeypatch.setattr(GitRepo, "_execute", slow)
    task = asyncio.create_task(repo.transaction([RefChange(MAIN, new=sha)]))
    async with asyncio.timeout(10):
        await begun.wait()
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert repo.ref(MAIN) == sha


POOL = min(32, (os.cpu_count() or 1) + 4)
"""The most threads that asyncio's default pool has."""


async def test_two_hundred_commands_leave_no_descriptor_child_or_thread(repo: GitRepo) -> None:
    sha = await add_commit(repo, {"a": b""})
    await repo.files(sha)
    gc.collect()

    def state() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    others_threads = threading.active_count()  # of other tests in this process
    for _ in range(10):  # the pool's threads
        await asyncio.gather(*(repo.is_ancestor(sha, sha) for _ in range(10)), repo.files(sha))

    def children() -> set[str]:
        return {child for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()}

    before, others = state(), children()  # other tests of this process may have servers of their own
    for _ in range(20):
        await asyncio.gather(*(repo.files(sha) for _ in range(10)))
    after = state()
    assert after[0] <= before[0]
    assert after[1] <= others_threads + POOL, "the pool of asyncio"
    assert children() <= others
