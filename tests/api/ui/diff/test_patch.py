"""git's patch as values: nothing is lost, nothing is taken for something else, whatever the files hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.ui.diff.patch import read_patch, unquote, write_patch
from api.ui.diff.values import FileDiff, Patch
from meta.git.diff import TreeDiff
from meta.git.objects import SYMLINK, commit, snapshot
from meta.git.repo import GitRepo
from meta.git.transaction import RefChange
from meta.names import Sha

LINES = st.sampled_from(
    [
        "",
        "a",
        "b",
        "a b",
        "-- x",
        "++ y",
        "@@ -1,2 +1,2 @@",
        "diff --git a/x b/x",
        "\\ No newline",
        "\r",
        "é\u202e",
        "+",
    ]
)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, st.lists(LINES, max_size=12), st.sampled_from(["", "\n"]))


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


async def _read(repo: GitRepo, one: Sha, two: Sha) -> Patch:
    diff: TreeDiff = await repo.diff(one, two)
    patch = read_patch(diff.patch, diff.files)
    assert write_patch(patch) == diff.patch
    return patch


def _sides(file: FileDiff) -> tuple[str, str]:
    """Both texts of a file whose hunks have all of its lines."""
    rows = [row for hunk in file.hunks for row in hunk.rows]
    sides = []
    for gone in "+-":
        text = ""
        for at, row in enumerate(rows):
            if row[0] not in (gone, "\\"):
                open_ = at + 1 < len(rows) and rows[at + 1][0] == "\\"
                text += row[1:] + ("" if open_ else "\n")
        sides.append(text)
    return sides[0], sides[1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, TEXTS)
def test_the_values_of_a_patch_hold_both_texts_and_write_the_patch_again(tmp_path: Path, old: str, new: str) -> None:
    names = [tmp_path / "a", tmp_path / "b"]
    for name, text in zip(names, (old, new), strict=True):
        name.write_bytes(text.encode())
    words = ["git", "diff", "--no-index", "--no-color", "--text", "-U1000", "a", "b"]
    text = subprocess.run(words, cwd=tmp_path, capture_output=True).stdout.decode()
    patch = read_patch(text)
    assert write_patch(patch) == text
    if old != new:
        assert [_sides(file) for file in patch.files] == [(old, new)]


async def test_names_modes_and_kinds_are_those_that_git_lists(repo: GitRepo) -> None:
    text = b"".join(b"line %d\n" % number for number in range(40))
    one = await _commit(repo, {"gone": b"1\n", "tool": b"x\n", "old name": text, "link": b"target\n", "empty": b"e\n"})
    new = {
        'né\n"w\t': b"2\n",
        "tool": b"x\n",
        "new b/name": text + b"+\n",
        "link": b"target",
        "empty": b"",
        "none": b"",
    }
    two = await _commit(repo, new, {"tool": 0o100755, "link": SYMLINK})
    patch = await _read(repo, one, two)
    assert sorted((file.path, file.status, file.old_mode, file.new_mode, file.old_path) for file in patch.files) == [
        ("empty", "changed", "100644", "100644", None),
        ("gone", "deleted", "100644", None, None),
        ("link", "added", None, "120000", None),
        ("link", "deleted", "100644", None, None),
        ("new b/name", "renamed", "100644", "100644", "old name"),
        ("none", "added", None, "100644", None),
        ('né\n"w\t', "added", None, "100644", None),
        ("tool", "changed", "100644", "100755", None),
    ]


async def test_a_file_that_the_patch_leaves_out_is_in_the_values_with_its_sizes(repo: GitRepo) -> None:
    one = await _commit(repo, {"small": b"1\n", "large": b"x\n" * 2**19})
    two = await _commit(repo, {"small": b"2\n", "large": b"y\n" * 2**19})
    patch = await _read(repo, one, two)
    small, large = sorted(patch.files, key=lambda file: file.path, reverse=True)
    assert (small.whole, large.whole, large.hunks, large.new_size) == (True, False, (), 2**20)
    assert patch.rest == ("[not whole: 1 of 2 files are not shown here; the list of files names them]",)


async def test_a_binary_file_is_marked(repo: GitRepo) -> None:
    one = await _commit(repo, {"data": b"\0\1\n"})
    two = await _commit(repo, {"data": b"\0\2\n"})
    assert [file.binary for file in (await _read(repo, one, two)).files] == [True]


def test_a_patch_that_is_cut_in_a_hunk_keeps_what_is_there() -> None:
    text = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n"
    patch = read_patch(text + "[not whole: 1 of 1 files are not shown here; the list of files names them]\n")
    assert patch.files[0].hunks[0].rows == (" one", "-two")
    assert len(patch.rest) == 1


@pytest.mark.parametrize(
    ("quoted", "name"),
    [('"a\\tb"', "a\tb"), ('"\\303\\251\\"\\\\"', 'é"\\'), ('"\\377"', "\\xff"), ("plain \\t", "plain \\t")],
)
def test_a_quoted_name_is_read_as_git_wrote_it(quoted: str, name: str) -> None:
    assert unquote(quoted) == name
