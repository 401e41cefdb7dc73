"""Which words of a line changed, and that no pair of lines is slow to compare."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ui.diff.blocks import Changed
from api.ui.diff.common import in_common
from api.ui.diff.patch import read_patch
from api.ui.diff.view import FileView, diff_view
from api.ui.diff.words import MOST_WORDS, MOST_WORK, Ranges, changed_words

FEW = st.lists(st.sampled_from("abc"), max_size=9)


def _marked(text: str, ranges: Ranges) -> str:
    for first, end in reversed(ranges):
        text = f"{text[:first]}[{text[first:end]}]{text[end:]}"
    return text


def _length(old: list[str], new: list[str]) -> int:
    """The length of the longest common subsequence, by its definition."""
    if not old or not new:
        return 0
    if old[0] == new[0]:
        return 1 + _length(old[1:], new[1:])
    return max(_length(old[1:], new), _length(old, new[1:]))


@given(FEW, FEW)
def test_what_is_in_common_is_in_order_and_as_long_as_possible(old: list[str], new: list[str]) -> None:
    pairs = in_common(old, new)
    assert [old[left] for left, _ in pairs] == [new[right] for _, right in pairs]
    assert pairs == sorted(pairs)
    assert len({left for left, _ in pairs}) == len({right for _, right in pairs}) == len(pairs) == _length(old, new)


@pytest.mark.parametrize(
    ("old", "new", "gone", "come"),
    [
        ('name = "haiku"', 'name = "opus"', 'name = "[haiku]"', 'name = "[opus]"'),
        ('to = ["manager"]', 'to = ["manager", "bob"]', 'to = ["manager"]', 'to = ["manager"[, "bob"]]'),
        ("sum(line.price)", "sum(line.price_cents)", "sum(line.[price])", "sum(line.[price_cents])"),
        ("f(a)", "g(b, c)", "f(a)", "g(b, c)"),  # hardly alike: no word is marked, all of it changed
        (
            "total = one + two",
            "total = six - ten",
            "total = [one + two]",
            "total = [six - ten]",
        ),  # not between the signs
    ],
)
def test_whole_words_are_marked(old: str, new: str, gone: str, come: str) -> None:
    before, after = changed_words(old, new)
    assert (_marked(old, before), _marked(new, after)) == (gone, come)


@given(st.text(max_size=60), st.text(max_size=60))
def test_what_is_not_marked_is_the_same_on_both_sides(old: str, new: str) -> None:
    before, after = changed_words(old, new)
    if before or after:
        assert _without(old, before) == _without(new, after)


def _without(text: str, ranges: Ranges) -> str:
    for first, end in reversed(ranges):
        text = text[:first] + text[end:]
    return text


def test_two_hostile_lines_are_compared_in_bounded_time() -> None:
    old, new = "ab " * MOST_WORDS, "ba " * MOST_WORDS
    begin = time.process_time()
    changed_words("x" + old, "y" + new)
    in_common(list("ab" * 1000), list("ba" * 1000))
    assert time.process_time() - begin < 1


def test_the_words_of_one_answer_that_are_compared_are_bounded_whatever_its_files_are() -> None:
    lines = "".join(f"{sign}{'a ' * 99}{word}\n" for sign, word in (("-", "one"), ("+", "two")))
    files = [f"diff --git a/f{n} b/f{n}\n--- a/f{n}\n+++ b/f{n}\n@@ -1 +1 @@\n{lines}" for n in range(300)]
    shown = diff_view(read_patch("".join(files)), "k")
    marked = [any(stretch.tag for line in block.added for stretch in line.stretches) for block in _changed(shown)]
    assert len(marked) == 300
    assert marked.count(True) == -(-MOST_WORK // 398)
    assert marked == sorted(marked, reverse=True)  # the first ones, and what is behind them has all its lines


def _changed(files: Sequence[FileView]) -> list[Changed]:
    return [part for file in files for part in file.parts if isinstance(part, Changed)]
