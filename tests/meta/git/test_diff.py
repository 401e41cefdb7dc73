"""The difference of two trees names every file, and its cost does not grow with what an agent compares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meta.errors import NotFound
from meta.git.diff import DIFF_LIMIT, FileChange, TreeDiff
from meta.git.objects import FILE, SYMLINK, TreeEntry, blob, commit, snapshot, tree
from meta.git.repo import GitRepo
from meta.git.transaction import RefChange
from meta.names import Sha

MIB = 2**20


@pytest.fixture
async def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    await repo.init()
    return repo


async def _commit(repo: GitRepo, files: dict[str, bytes], modes: dict[str, int] | None = None) -> Sha:
    root, objects = snapshot(files, modes)
    made = commit(root, (), "change", 1_700_000_000)
    await repo.transaction([RefChange("refs/heads/main", new=made.id)], [*objects, made])
    return made.id


def _of(diff: TreeDiff, path: str) -> FileChange:
    return next(change for change in diff.files if change.path == path)


async def test_every_change_has_its_status_sizes_and_modes(repo: GitRepo) -> None:
    one = await _commit(repo, {"gone": b"1234", "kept": b"k\n", "more": b"a\n", "x": b"#!/bin/sh\n"})
    two = await _commit(repo, {"new": b"12", "kept": b"k\n", "more": b"a\nb\n", "x": b"#!/bin/sh\n"}, {"x": 0o100755})
    diff = await repo.diff(one, two)
    assert {change.path: (change.status, change.old_size, change.new_size) for change in diff.files} == {
        "gone": ("deleted", 4, None),
        "new": ("added", None, 2),
        "more": ("changed", 2, 4),
        "x": ("changed", 10, 10),
    }
    assert (_of(diff, "x").old_mode, _of(diff, "x").new_mode) == ("100644", "100755")
    assert all(change.shown for change in diff.files)
    assert diff.cut is None


async def test_a_patch_has_as_many_unchanged_lines_around_a_change_as_asked_for(repo: GitRepo) -> None:
    lines = [b"%d\n" % number for number in range(20)]
    one = await _commit(repo, {"x": b"".join(lines)})
    two = await _commit(repo, {"x": b"".join([*lines[:10], b"ten\n", *lines[11:]])})
    shown = {context: (await repo.diff(one, two, "x", context)).patch.count("\n ") for context in (0, 3, 1000)}
    assert shown == {0: 0, 3: 6, 1000: 19}


async def test_a_renamed_file_keeps_its_old_name(repo: GitRepo) -> None:
    text = b"".join(b"line %d\n" % number for number in range(50))
    one = await _commit(repo, {"old": text})
    two = await _commit(repo, {"new": text + b"more\n"})
    diff = await repo.diff(one, two)
    assert [(change.path, change.old_path, change.status) for change in diff.files] == [("new", "old", "renamed")]
    assert "rename from old" in diff.patch


async def test_a_third_file_behind_padding_is_named_and_shown(repo: GitRepo) -> None:
    one = await _commit(repo, {"agent.toml": b""})
    padding = b"padding padding\n" * (DIFF_LIMIT // 24)
    two = await _commit(repo, {"agent.toml": b"", "a": padding, "b": padding + b"b", "z.sh": b"rm -rf /\n"})
    diff = await repo.diff(one, two)
    assert [change.path for change in diff.files] == ["a", "b", "z.sh"]
    assert _of(diff, "z.sh").shown
    assert "+rm -rf /" in diff.patch
    assert [change.path for change in diff.files if not change.shown] == ["b"]
    assert diff.cut is not None
    assert "1 of 3 files are not shown" in diff.patch.rstrip("\n").rpartition("\n")[2]


async def test_a_file_that_becomes_a_folder_pushes_no_other_out_of_the_patch(repo: GitRepo) -> None:
    one = await _commit(repo, {"agent.toml": b"a = 1\n", "d": b"12\n"})
    large = b"x\n" * (2 * MIB)
    two = await _commit(repo, {"agent.toml": b"a = 2\n", "d/big": large, "d/small": b"1\n", "run.sh": b"#!/bin/sh\n"})
    diff = await repo.diff(one, two)
    assert {change.path: change.shown for change in diff.files} == {
        "agent.toml": True,
        "d": False,
        "d/big": False,
        "d/small": False,
        "run.sh": True,
    }
    assert len(diff.files) == 5
    assert "+a = 2" in diff.patch
    folder = await repo.diff(one, two, "d")
    assert [change.path for change in folder.files] == ["d", "d/big", "d/small"]


async def test_of_one_file_more_is_shown_than_of_all(repo: GitRepo) -> None:
    large = b"0123456789abcde\n" * (2 * MIB // 16)
    one, two = await _commit(repo, {"a": b"1"}), await _commit(repo, {"a": b"2", "large": large})
    diff = await repo.diff(one, two, "large")
    assert [(change.path, change.shown) for change in diff.files] == [("large", True)]
    assert diff.cut is None
    assert not _of(await repo.diff(one, two), "large").shown
    with pytest.raises(NotFound, match="nothing changes at b"):
        await repo.diff(one, two, "b")


@pytest.mark.parametrize("size", [1, MIB // 4, 3 * MIB // 4, 2 * MIB])
async def test_a_diff_is_cut_if_it_does_not_show_every_file(repo: GitRepo, size: int) -> None:
    one, two = await _commit(repo, {}), await _commit(repo, {"a": b"1", "b": b"x" * size, "c": b"y" * size})
    assert await repo.cut(one, two) == (await repo.diff(one, two)).cut


async def test_a_file_too_large_to_compare_is_named_with_its_size(repo: GitRepo) -> None:
    one = await _commit(repo, {"a": b""})
    two = await _commit(repo, {"a": b"x\n" * DIFF_LIMIT, "b": b"small\n"})
    diff = await repo.diff(one, two)
    assert (_of(diff, "a").new_size, _of(diff, "a").shown, _of(diff, "a").binary) == (2 * MIB, False, False)
    assert "+small" in diff.patch
    assert len(diff.patch) < 1000


async def test_lines_that_look_like_headers_make_no_file(repo: GitRepo) -> None:
    one = await _commit(repo, {"a": b"", "c": b""})
    forged = b"diff --git a/x b/y\n--- a/x\n+++ b/y\n" * 10 + b"x\rdiff --git a/q b/q\n"
    two = await _commit(repo, {"a": forged, "c": b"c\n"})
    assert [change.path for change in (await repo.diff(one, two)).files] == ["a", "c"]


async def test_odd_names_are_names(repo: GitRepo) -> None:
    names = ["a b/c", " b/x", 'quo"te', "tab\there", "ü", ":(top)x", "*"]
    one = await _commit(repo, {"agent.toml": b""})
    two = await _commit(repo, {"agent.toml": b"", **dict.fromkeys(names, b"x\n"), "big": b"y" * 2 * DIFF_LIMIT})
    diff = await repo.diff(one, two)
    assert {change.path for change in diff.files} == {*names, "big"}
    assert [change.path for change in diff.files if not change.shown] == ["big"]


async def test_a_file_that_becomes_a_symlink_is_one_change(repo: GitRepo) -> None:
    one = await _commit(repo, {"a": b"x\n", "b": b"1\n"}, {"a": FILE})
    two = await _commit(repo, {"a": b"b", "b": b"2\n"}, {"a": SYMLINK})
    diff = await repo.diff(one, two)
    assert [(change.path, change.new_mode, change.shown) for change in diff.files] == [
        ("a", "120000", True),
        ("b", "100644", True),
    ]


@pytest.mark.parametrize("size", [10, 2 * MIB])
async def test_binary_files_are_marked(repo: GitRepo, size: int) -> None:
    one = await _commit(repo, {"agent.toml": b""})
    two = await _commit(repo, {"agent.toml": b"", "binary": b"\0" * size, "text": b"t" * size})
    diff = await repo.diff(one, two)
    assert (_of(diff, "binary").binary, _of(diff, "text").binary) == (True, False)


async def test_a_missing_commit_is_not_found(repo: GitRepo) -> None:
    one = await _commit(repo, {"a": b""})
    with pytest.raises(NotFound):
        await repo.diff(one, Sha("1" * 40))


MEASURE = """
import asyncio, pathlib, resource, sys
from meta.git.repo import GitRepo
from meta.names import Sha
diff = asyncio.run(GitRepo(pathlib.Path(sys.argv[1])).diff(Sha(sys.argv[2]), Sha(sys.argv[3])))
print(len(diff.files), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
      resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.parametrize("content", [b"\n" * 8 * MIB, b"\n" * (MIB - 1)], ids=["8MiB", "1MiB-of-lines"])
async def test_many_paths_that_share_a_blob_take_little_memory(repo: GitRepo, content: bytes) -> None:
    """Daemon and git together: the interpreter alone has about 45 MiB, which is taken off."""
    one = await _commit(repo, {"agent.toml": b""})
    shared = blob(content)
    root = tree([TreeEntry(FILE, b"f%03d" % number, shared.id) for number in range(250)])
    made = commit(root.id, (), "many", 1_700_000_000)
    await repo.transaction([], [shared, root, made])
    two = made.id
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(repo.path), one, two], capture_output=True, text=True, check=True
    )
    idle = subprocess.run(
        [sys.executable, "-c", MEASURE, str(repo.path), one, one], capture_output=True, text=True, check=True
    )
    files, own, gits = map(int, measured.stdout.split())
    assert files == 251
    assert own - int(idle.stdout.split()[1]) < 32 * 1024
    assert gits < 80 * 1024
