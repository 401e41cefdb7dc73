"""The checks of a proposed tree cost what its bytes cost, and a large one is checked in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from meta.errors import Refused
from meta.git.objects import TreeEntry
from meta.git.objects import tree as encoded
from meta.names import Sha
from meta.proposed.quarantine import tree, tree_check
from meta.proposed.quarantine.tree_check import SMALL, TreeCheck
from meta.proposed.quarantine.tree_program import Question

MANY = 3000
SECONDS = 1.5
"""Seconds of a processor: what is done once for each directory in a path takes more than three times as long."""
LIMITS = tree.TreeLimits(10_000, 2**20, 2**27)
DEEP = "a/" * 511 + "a"
"""The deepest target of a symlink."""


def oid(number: int) -> Sha:
    return Sha(f"{number:040x}")


def listing(*lines: tuple[str, int, str], size: int = 1000) -> bytes:
    """Return what `git ls-tree -r -t -z -l` prints for mode, blob and path."""
    return b"".join(f"{mode} blob {oid(blob)} {size:7}\t{path}\0".encode() for mode, blob, path in lines)


def contents(targets: dict[int, str]) -> bytes:
    """Return what `git cat-file --batch` prints for blobs."""
    return b"".join(f"{oid(blob)} blob {len(text.encode())}\n{text}\n".encode() for blob, text in targets.items())


def links_to_one_target() -> tuple[bytes, bytes]:
    return listing(*(("120000", 1, f"l{number}") for number in range(MANY))), contents({1: DEEP})


def links_to_as_many_targets() -> tuple[bytes, bytes]:
    lines = (("120000", number, f"l{number}") for number in range(MANY))
    return listing(*lines), contents({number: DEEP[:-12] + f"/{number:09}" for number in range(MANY)})


def links_with_letters_beyond_ascii() -> tuple[bytes, bytes]:
    lines = (("120000", number, f"l{number}") for number in range(MANY))
    return listing(*lines), contents({number: "é/" * 250 + str(number) for number in range(MANY)})


def a_chain_of_links() -> tuple[bytes, bytes]:
    lines = (("120000", number, f"l{number}") for number in range(MANY))
    return listing(*lines), contents({number: f"l{number + 1}" for number in range(MANY)})


def names_with_one_long_beginning() -> tuple[bytes, bytes]:
    return listing(*(("100644", 1, "n" * 245 + f"{number:05}") for number in range(MANY))), b""


def files_in_the_deepest_folders() -> tuple[bytes, bytes]:
    return listing(*(("100644", 1, "d/" * 64 + f"f{number}") for number in range(MANY))), b""


@pytest.mark.parametrize(
    "make",
    [
        links_to_one_target,
        links_to_as_many_targets,
        links_with_letters_beyond_ascii,
        a_chain_of_links,
        names_with_one_long_beginning,
        files_in_the_deepest_folders,
    ],
)
def test_three_thousand_entries_cost_what_their_bytes_cost(make: Callable[[], tuple[bytes, bytes]]) -> None:
    listed, targets = make()
    begun = time.thread_time()
    tree.check_listing(listed, None, LIMITS)
    tree.check_targets(listed, targets)
    assert time.thread_time() - begun < SECONDS


def test_the_first_of_many_submodules_is_refused() -> None:
    listed = listing(*(("160000", number, f"m{number}") for number in range(MANY)))
    with pytest.raises(Refused, match="'m0' is a submodule"):
        tree.check_listing(listed, None, LIMITS)


@pytest.mark.parametrize(
    ("target", "depth", "fault"),
    [
        ("../x", 1, ""),
        ("..", 1, ""),
        ("./.././/..", 2, ""),
        ("a/./b//c", 0, ""),
        (DEEP, 0, ""),
        ("../x", 0, "leaves the tree"),
        ("a/../b", 5, "has '..' after a name"),
        ("../../a/..", 1, "leaves the tree"),
        ("/etc", 3, "is absolute"),
        ("", 0, "has an invalid target"),
        ("../.Git/config", 1, "has an invalid target"),
        ("a/GIT~1 ./b", 0, "has an invalid target"),
        ("a/.g\u200cit", 0, "has an invalid target"),
        ("x" * 256, 0, "has an invalid target"),
        ("a\x1b", 0, "has an invalid target"),
    ],
)
def test_the_target_of_a_symlink(target: str, depth: int, fault: str) -> None:
    entry = tree.Entry("120000", oid(1), len(target), b"d/" * depth + b"l")
    if not fault:
        tree.check_links([entry], {oid(1): target.encode()})
        return
    with pytest.raises(Refused, match=fault):
        tree.check_links([entry], {oid(1): target.encode()})


def test_links_to_one_target_are_checked_each_in_its_own_folder() -> None:
    entries = [tree.Entry("120000", oid(1), 4, path) for path in (b"a/b/l", b"l")]
    with pytest.raises(Refused, match="symlink 'l' leaves the tree"):
        tree.check_links(entries, {oid(1): b"../x"})


async def test_a_large_tree_is_checked_in_a_process_with_the_same_answers() -> None:
    listed, targets = links_to_as_many_targets()
    check = TreeCheck(listed, 30, None)
    assert len(listed) > SMALL
    assert await check.links(LIMITS, None) == tuple(oid(number) for number in range(MANY))
    await check.targets(targets)
    with pytest.raises(Refused, match="symlink 'l5' is absolute") as caught:
        await check.targets(targets.replace(contents({5: DEEP[:-12] + "/000000005"}), contents({5: "/etc"})))
    assert "same commit" in caught.value.hint


async def test_the_flake_of_a_base_with_a_large_top_folder_is_compared_in_the_process() -> None:
    top = encoded([TreeEntry(0o100644, f"f{number}".encode(), oid(number)) for number in range(3000)])
    check = TreeCheck(listing(("100644", 1, "flake.nix")), 30, None)
    with pytest.raises(Refused, match=r"changes flake\.nix"):
        await check.links(LIMITS, top.data)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGXCPU)", "sys.exit('MemoryError')"])
async def test_a_tree_that_takes_too_much_is_refused(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_check, "_PROGRAM", f"import os, signal, sys; {end}")
    with pytest.raises(Refused, match="takes too long or too much memory to check"):
        await TreeCheck(links_to_one_target()[0], 30, None).links(LIMITS, None)


@pytest.mark.parametrize("question", [Question(b"abc"), Question(b"", LIMITS, b""), Question(b"a", LIMITS, b"b", b"c")])
def test_a_question_is_read_as_it_was_asked(question: Question) -> None:
    assert Question.decode(question.encode()) == question
