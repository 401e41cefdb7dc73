"""Objects that hive encodes are those that git would have made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.errors import BadInput
from meta.git.objects import (
    EXECUTABLE,
    FILE,
    SYMLINK,
    TREE,
    TreeEntry,
    blob,
    commit,
    decode_commit,
    decode_tag,
    decode_tree,
    snapshot,
    tag,
    tree,
)
from meta.git.repo import GitRepo
from meta.names import Sha

Git = Callable[..., str]
names = st.text("abcz.-_ é/", min_size=1, max_size=6).filter(lambda name: "/" not in name and name not in (".", ".."))


async def test_git_accepts_and_names_every_object_as_hive_does(repo: GitRepo, git: Git) -> None:
    root, objects = snapshot({"b": b"1", "a/x": b"2", "a/deep/y": b"", "a.txt": b"3"}, {"b": EXECUTABLE})
    first = commit(root, (), "subject\n\ntext é\n", 1000)
    second = commit(root, (first.id,), "second\n", 1001)
    mark = tag("approved/7", second.id, "approved 7\n", 1002)
    await repo.transaction([], [*objects, first, second, mark])
    assert git(repo.path, "fsck", "--strict", "--no-dangling") == ""
    for item in (*objects, first, second, mark):
        assert git(repo.path, "cat-file", "-t", item.id) == item.kind
    listed = git(repo.path, "ls-tree", "-r", "--format=%(objectmode) %(path)", second.id)
    assert listed.splitlines() == ["100644 a.txt", "100644 a/deep/y", "100644 a/x", "100755 b"]


@given(st.dictionaries(names, st.sampled_from([FILE, EXECUTABLE, SYMLINK, TREE]), max_size=8))
def test_a_tree_decodes_to_its_entries(entries: dict[str, int]) -> None:
    lines = [TreeEntry(mode, name.encode(), blob(name.encode()).id) for name, mode in entries.items()]
    assert sorted(decode_tree(tree(lines).data), key=repr) == sorted(lines, key=repr)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**40))
def test_commit_and_tag_give_back_message_and_time(message: str, at: int) -> None:
    target = Sha("1" * 40)
    made = commit(target, (target,), message, at)
    read = decode_commit(made.id, made.data)
    assert (read.message, read.at, read.parents, read.tree) == (message, at, (target,), target)
    mark = decode_tag(tag("failed/3", target, message, at).data)
    assert (mark.message, mark.at, mark.target, mark.name) == (message, at, target, "failed/3")


@given(st.binary(max_size=60))
def test_decoding_garbage_is_a_value_error_at_most(data: bytes) -> None:
    for decode in (decode_tree, decode_tag, lambda raw: decode_commit(Sha("1" * 40), raw)):
        try:
            decode(data)
        except ValueError:
            continue


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".git/config", "x/.GIT/hooks/y", "a\0b"])
def test_a_path_that_leaves_the_tree_or_means_git_itself_is_refused(path: str) -> None:
    with pytest.raises(BadInput, match="not a path inside a repo"):
        snapshot({path: b""})


def test_a_file_that_is_also_a_folder_is_refused() -> None:
    with pytest.raises(BadInput, match="both a file and a folder"):
        snapshot({"a": b"", "a/b": b""})
