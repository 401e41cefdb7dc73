"""A record whose file something else replaced is damaged; the reader neither waits nor raises."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.backends.local import directories, log_file
from reconciler.backends.records import MARKER, Cached

pytestmark = pytest.mark.timeout(10)


def test_a_pipe_in_the_place_of_a_record_is_its_damage(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hive.json")
    record = Cached(tmp_path / "hive.json", MARKER.validate_json)
    assert record.get() is None
    assert "it is a pipe" in record.damage


def test_a_record_that_is_long_beyond_measure_is_its_damage(tmp_path: Path) -> None:
    with (tmp_path / "hive.json").open("wb") as file:
        file.truncate(2**40)
    record = Cached(tmp_path / "hive.json", MARKER.validate_json)
    assert record.get() is None
    assert "longer than" in record.damage


def test_a_link_in_the_place_of_a_record_is_its_damage_unless_links_are_expected(tmp_path: Path) -> None:
    (tmp_path / "real").write_text('{"owner": "me"}')
    (tmp_path / "hive.json").symlink_to("real")
    strict = Cached(tmp_path / "hive.json", MARKER.validate_json)
    assert strict.get() is None
    assert "it is a link" in strict.damage
    assert Cached(tmp_path / "hive.json", MARKER.validate_json, follow=True).get() is not None


@pytest.mark.parametrize("name", ["log", "log.times"])
def test_a_pipe_in_the_place_of_a_log_has_no_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / "log").write_bytes(b"")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    assert log_file.after(tmp_path, None, 10).text == ""
    assert log_file.after(tmp_path, None, 10, since=1.0).text == ""
    assert directories.tail(tmp_path, 10) == ""
