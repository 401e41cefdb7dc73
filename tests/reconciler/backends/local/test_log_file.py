"""A log is followed line by line, and a rotation in between loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.errors import BadInput
from reconciler.backends.local import log_file
from reconciler.backends.local.log_file import after
from reconciler.views import LogPart


def write(folder: Path, text: str) -> None:
    with (folder / "log").open("a", encoding="utf-8") as file:
        file.write(text)


def rotate(folder: Path) -> None:
    (folder / "log").rename(folder / "log.1")


def test_lines_come_once_and_an_unfinished_one_waits_for_its_end(tmp_path: Path) -> None:
    assert after(tmp_path, None, 5) == LogPart("", None)
    write(tmp_path, "one\ntwo\nthr")
    part = after(tmp_path, None, 1)
    assert part.text == "two\n"
    assert after(tmp_path, part.cursor, 5) == LogPart("", part.cursor)
    write(tmp_path, "ee\nfour\n")
    part = after(tmp_path, part.cursor, 5)
    assert part.text == "three\nfour\n"
    assert after(tmp_path, part.cursor, 5).text == ""


def test_a_rotation_between_two_looks_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path, "one\n")
    cursor = after(tmp_path, None, 5).cursor
    write(tmp_path, "two\n")
    rotate(tmp_path)
    part = after(tmp_path, cursor, 5)
    assert part.text == "two\n"
    write(tmp_path, "three\n")
    assert after(tmp_path, part.cursor, 5).text == "three\n"


def test_a_place_in_a_log_that_is_gone_begins_with_the_last_lines(tmp_path: Path) -> None:
    write(tmp_path, "one\ntwo\n")
    assert after(tmp_path, "1-4", 1).text == "two\n"


def test_a_line_that_is_longer_than_a_part_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "x\n")
    cursor = after(tmp_path, None, 1).cursor
    monkeypatch.setattr(log_file, "PART_BYTES", 8)
    write(tmp_path, "0123456789\n")
    part = after(tmp_path, cursor, 5)
    assert (part.text, after(tmp_path, part.cursor, 5).text) == ("01234567", "89\n")


def mark(folder: Path, at: float) -> None:
    """What comes now in the log is of that time or later."""
    log = folder / "log"
    log.touch()
    with (folder / "log.times").open("a", encoding="ascii") as file:
        file.write(f"{log.stat().st_ino} {at} {log.stat().st_size}\n")


def timed(folder: Path, *lines: tuple[float, str]) -> None:
    for at, text in lines:
        mark(folder, at)
        write(folder, text)


@pytest.mark.parametrize(
    ("since", "text"),
    [(0, "one\ntwo\nthree\n"), (10.5, "one\ntwo\nthree\n"), (11, "two\nthree\n"), (21.5, "three\n"), (40, "")],
)
def test_what_was_written_after_a_time_is_found_to_the_second(tmp_path: Path, since: float, text: str) -> None:
    timed(tmp_path, (10, "one\n"), (20, "two\n"), (30, "three\n"))
    part = after(tmp_path, None, 50, since)
    assert part.text == text
    write(tmp_path, "four\n")
    assert after(tmp_path, part.cursor, 50, since).text == "four\n"
    assert after(tmp_path, None, 1, 0).text == "four\n"


def test_times_reach_back_into_the_log_before(tmp_path: Path) -> None:
    timed(tmp_path, (10, "one\n"), (20, "two\n"))
    rotate(tmp_path)
    (tmp_path / "log.times").rename(tmp_path / "log.times.1")
    timed(tmp_path, (30, "three\n"))
    assert after(tmp_path, None, 50, 15).text == "two\nthree\n"
    assert after(tmp_path, None, 50, 25).text == "three\n"


def test_a_line_that_was_under_way_comes_whole(tmp_path: Path) -> None:
    timed(tmp_path, (10, "one\ntw"), (20, "o\n"))
    assert after(tmp_path, None, 50, 15).text == "two\n"


def test_a_clock_that_was_wrong_for_a_while_hides_nothing_that_came_later(tmp_path: Path) -> None:
    timed(tmp_path, (10, "one\n"), (9000, "two\n"), (20, "three\n"), (30, "four\n"))
    assert after(tmp_path, None, 50, 25).text == "four\n"


def test_times_that_a_full_disk_cut_short_are_passed_over(tmp_path: Path) -> None:
    timed(tmp_path, (10, "one\n"), (20, "two\n"))
    with (tmp_path / "log.times").open("a") as file:
        file.write("12")
    assert after(tmp_path, None, 50, 15).text == "two\n"


def test_a_log_of_which_nobody_noted_times_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one\n")
    with pytest.raises(BadInput, match="no times yet"):
        after(tmp_path, None, 50, 15)
    assert after(tmp_path, None, 50).text == "one\n"


def test_a_symlink_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        after(tmp_path, None, 5)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-1", "1-2-3", "1-٣", "1" * 50])
def test_a_malformed_cursor_is_rejected(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(BadInput, match="not a cursor of a log"):
        after(tmp_path, cursor, 5)
