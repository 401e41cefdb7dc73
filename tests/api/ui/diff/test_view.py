"""What of a diff is shown at once, what is folded, and what stands beside a file's name."""

from __future__ import annotations

from api.ui.diff.blocks import Changed, Same, pairs_of
from api.ui.diff.edits import edit_diff
from api.ui.diff.lines import INVISIBLE_MOST, LINE_MOST, Line
from api.ui.diff.patch import read_patch
from api.ui.diff.source import Source
from api.ui.diff.values import FileDiff, Hunk, Patch
from api.ui.diff.view import DIFF_MOST, FILE_MOST, PAGE_ROWS, FileView, Fold, diff_view, file_view, page
from api.ui.diff.words import Work
from meta.names import AgentName, Sha

SOURCE = Source(AgentName("alice"), Sha("a" * 40), Sha("b" * 40), "p7")


def _text(line: Line | None) -> str:
    return "" if line is None else "".join(piece.text for stretch in line.stretches for piece in stretch.pieces)


def _folds(view: FileView) -> list[Fold]:
    return [part for part in view.parts if isinstance(part, Fold)]


def _lines(fold: Fold) -> tuple[Line, ...]:
    (block,) = fold.parts
    assert isinstance(block, Same)
    return block.lines


def _file(rows: list[str], old: int = 1, new: int = 1, status: str = "changed") -> FileDiff:
    signs = [row[:1] for row in rows]
    hunks = (Hunk("@@", old, new, tuple(rows)),)
    return FileDiff("x", status, hunks=hunks, added=signs.count("+"), removed=signs.count("-"))


def test_lines_between_hunks_are_folded_with_their_count_and_a_link() -> None:
    hunks = (Hunk("@@", 12, 12, (" a", "-b", "+c")), Hunk("@@", 20, 20, ("+d", " e", " f", " g")))
    first, second, last = _folds(file_view(FileDiff("x", "changed", hunks=hunks), "p7", SOURCE))
    assert (first.words, second.words, last.words) == (
        "11 unchanged lines",
        "6 unchanged lines",
        "Further unchanged lines",
    )
    assert "old=1&new=1&most=11" in first.href
    assert "old=14&new=14&most=6" in second.href
    assert "old=23&new=24&most=0" in last.href


def test_a_hunk_that_ends_with_the_file_has_no_fold_behind_it() -> None:
    assert _folds(file_view(_file(["-a", "+b", " c", " d"]), "p7", SOURCE)) == []
    assert _folds(file_view(_file(["+a", "+b", "+c"], status="added"), "p7", SOURCE)) == []


def test_a_file_of_many_changed_lines_is_folded_with_its_counts() -> None:
    (view,) = diff_view(Patch((_file(["+x"] * (FILE_MOST + 1), status="added"),)), "p7", SOURCE)
    assert (view.added, view.removed) == (FILE_MOST + 1, 0)
    assert [part.words for part in _folds(view)] == ["401 changed lines"]
    assert len(view.parts) == 1


def test_many_files_are_open_up_to_a_number_of_rows_and_folded_behind_it() -> None:
    files = tuple(_file(["+x"] * FILE_MOST, status="added") for _ in range(DIFF_MOST // FILE_MOST + 1))
    views = diff_view(Patch(files), "p7", SOURCE)
    assert [bool(_folds(view)) for view in views] == [False, False, True]


def test_a_long_file_is_shown_in_pages_whose_numbers_go_on() -> None:
    file = _file([" a", *["-o", "+n"] * PAGE_ROWS])
    first = page(file, "p7-x", SOURCE)
    assert isinstance(first[-1], Fold)
    assert first[-1].words == f"{PAGE_ROWS + 1:,} more rows"
    assert f"at={PAGE_ROWS}" in first[-1].href
    second = page(file, "p7-x", SOURCE, at=PAGE_ROWS)[0]
    assert isinstance(second, Changed)
    assert (second.added[0].new, second.removed[0].old) == (str(PAGE_ROWS // 2 + 1), str(PAGE_ROWS // 2 + 2))


def test_a_file_that_the_patch_lacks_can_be_compared_alone() -> None:
    (view,) = diff_view(Patch((FileDiff("x", "changed", old_size=10, new_size=2**21, whole=False),)), "p7", SOURCE)
    assert [fold.words for fold in _folds(view)] == ["Not in this patch, 10 B → 2.0 MiB; open to compare it alone"]
    (bare,) = diff_view(Patch((FileDiff("x", "changed", whole=False),)), "p7")
    assert [(fold.words, fold.href) for fold in _folds(bare)] == [("Not in this patch", "")]


def test_a_binary_file_is_folded_although_git_shows_it_as_text() -> None:
    file = FileDiff("x", "changed", hunks=(Hunk("@@", 1, 1, ("-\0", "+\1")),), binary=True, added=1, removed=1)
    (view,) = diff_view(Patch((file,)), "p7", SOURCE)
    assert view.tags == ("binary",)
    assert [fold.words for fold in _folds(view)] == ["2 changed lines of a binary file"]


def test_modes_and_empty_files_are_words() -> None:
    modes = [("100644", "100755", "changed"), (None, "120000", "added"), (None, "100644", "added")]
    views = [file_view(FileDiff("x", status, old_mode=old, new_mode=new), "k") for old, new, status in modes]
    assert [(view.tags, view.note) for view in views] == [
        (("plain file → executable",), "Only its mode changes."),
        (("new", "symbolic link"), "The file is empty."),
        (("new",), "The file is empty."),
    ]


def test_both_halves_of_a_file_that_becomes_a_link_have_ids_of_their_own() -> None:
    halves = (_file(["-a"], status="deleted"), _file(["+b"], status="added"))
    assert len({view.id for view in diff_view(Patch(halves), "p7")}) == 2


def test_a_line_without_its_line_end_says_so() -> None:
    (block,) = file_view(_file(["-a", "\\ No newline at end of file", "+a"]), "k").parts
    assert isinstance(block, Changed)
    assert (block.removed[0].note, block.added[0].note) == ("no line end", "")


def test_a_very_long_line_is_cut_around_its_change() -> None:
    (block,) = file_view(_file([f"-{'x ' * 5000}old{' y' * 500}", f"+{'x ' * 5000}new{' y' * 500}"]), "k").parts
    assert isinstance(block, Changed)
    line = block.added[0]
    assert "new" in _text(line)
    assert len(_text(line)) < LINE_MOST + 40
    assert line.stretches[0].pieces[0].text == "9,940 characters … "
    assert line.note == "… 463 more characters"


def test_a_line_that_is_cut_says_if_it_hides_a_change() -> None:
    same = " word_of_a_line" * 40
    old, new = f"old{same} old", f"new{same} new"
    (block,) = file_view(_file([f"-{old}", f"+{new}"]), "k").parts
    assert isinstance(block, Changed)
    assert block.added[0].note == "… 7 more characters, changed ones among them"


def test_a_character_without_ink_is_an_escape_with_its_name() -> None:
    (block,) = file_view(_file(["+a\u202eb\r"], status="added"), "k").parts
    assert isinstance(block, Changed)
    assert [(piece.text, piece.title) for piece in block.added[0].stretches[0].pieces] == [
        ("a", ""),
        ("\\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("b", ""),
        ("\\u000d", "U+000D control characters"),
    ]
    assert file_view(FileDiff("a\u202e\nb", "added"), "k").path == "a\\u202e\\nb"


def test_a_line_full_of_characters_without_ink_is_cut_behind_some_of_them() -> None:
    (block,) = file_view(_file(["+" + "\u200b" * 500], status="added"), "k").parts
    assert isinstance(block, Changed)
    assert _text(block.added[0]) == "\\u200b" * INVISIBLE_MOST
    assert block.added[0].note == f"… {500 - INVISIBLE_MOST} more characters"


def test_lines_are_paired_by_what_they_have_in_common() -> None:
    assert pairs_of(["x = compute(a)"], ["import os", "import re", "x = compute(b)"], Work()) == [(0, 2)]
    assert pairs_of(["one two", "three four"], ["three five", "six"], Work()) == [(1, 0)]
    assert pairs_of(["a"] * 100, ["a"] * 100, Work()) == [(at, at) for at in range(100)]


def test_side_by_side_a_pair_stands_on_one_height() -> None:
    (block,) = file_view(_file(["-x = compute(a)", "+import os", "+x = compute(b)"]), "k").parts
    assert isinstance(block, Changed)
    assert [(_text(left), _text(right)) for left, right in zip(block.left, block.right, strict=True)] == [
        ("", "import os"),
        ("x = compute(a)", "x = compute(b)"),
    ]


def test_an_edit_of_an_agent_is_a_diff_whose_unchanged_lines_are_folded_in_place() -> None:
    text = "".join(f"line {number}\n" for number in range(40))
    view = file_view(edit_diff("x.py", text, text.replace("line 20\n", "line twenty\nmore\n"), 1), "k")
    before, near, changed, behind, after = view.parts
    assert (view.added, view.removed) == (2, 1)
    assert isinstance(before, Fold) and isinstance(after, Fold)
    assert (before.words, len(_lines(before)), after.words) == ("17 unchanged lines", 17, "16 unchanged lines")
    assert isinstance(near, Same) and isinstance(changed, Changed) and isinstance(behind, Same)
    assert [line.old for line in near.lines] == ["18", "19", "20"]


def test_lines_of_a_part_of_a_file_whose_place_nobody_knows_have_no_numbers() -> None:
    text = "".join(f"line {number}\n" for number in range(20))
    view = file_view(edit_diff("x.py", f"a\n{text}b\n", f"c\n{text}d\n"), "k")
    blocks = [part for part in view.parts if not isinstance(part, Fold)]
    lines = [line for part in blocks for line in (part.lines if isinstance(part, Same) else part.removed + part.added)]
    assert len(lines) == 10
    assert {(line.old, line.new) for line in lines} == {("", "")}


def test_a_new_text_is_an_added_file_and_an_edit_of_nothing_has_no_lines() -> None:
    assert (edit_diff("x", None, "a\nb\n").status, edit_diff("x", None, "a\nb\n").added) == ("added", 2)
    assert edit_diff("x", "a\n", "a\n").hunks == ()


def test_the_ids_of_a_diff_hold_no_text_of_an_agent() -> None:
    patch = read_patch('diff --git "a/\\" onload=x" "b/\\" onload=x"\nnew file mode 100644\n')
    (view,) = diff_view(patch, "p7", SOURCE)
    assert view.path == '" onload=x'
    assert view.id.removeprefix("p7-").isalnum()
