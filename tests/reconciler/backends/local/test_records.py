"""A record that is there and cannot be understood is damaged, not absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.names import AgentName
from reconciler.backends.local.records import LocalRecords


@pytest.fixture
def records(tmp_path: Path) -> LocalRecords:
    (tmp_path / "hive.json").write_text('{"owner": "me"}')
    return LocalRecords(AgentName("alice"), tmp_path, "me")


def damage(records: LocalRecords) -> tuple[str, str] | None:
    records.ours, records.run.get()
    return records.damage


def test_whole_records_have_no_damage(records: LocalRecords) -> None:
    assert damage(records) is None
    assert records.ours


@pytest.mark.parametrize("name", ["hive.json", "run.json"])
@pytest.mark.parametrize("content", ["", '{"owner"', "[]"])
def test_a_spoilt_record_is_named_until_it_is_mended(records: LocalRecords, name: str, content: str) -> None:
    path = records.folder / name
    path.write_text(content)
    text, remedy = damage(records) or ("", "")
    assert str(path) in text
    if name == "hive.json":
        path.write_text(remedy.partition("write ")[2].partition(" to a new file")[0])
    else:
        path.unlink()
    assert damage(records) is None
    assert records.ours


def test_a_record_that_cannot_be_read_is_named(records: LocalRecords) -> None:
    (records.folder / "run.json").mkdir()
    text, _ = damage(records) or ("", "")
    assert "it is a folder, not a file" in text
