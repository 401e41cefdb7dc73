"""A database that a newer hive wrote is refused before anything is changed, also one that was not closed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from meta.errors import NewerState
from reconciler.store import offline
from reconciler.store.database import Database
from reconciler.store.events import log
from tests.support.newer import make_newer, snapshot


async def test_the_error_names_the_schemas_the_hive_that_started_last_and_the_way_back(tmp_path: Path) -> None:
    path = tmp_path / "hive.db"
    async with await Database.open(path) as db:
        await db.write(lambda connection: log.append(connection, 0, "daemon_started", None, {"revision": "0.9.0+abc"}))
    make_newer(path)
    with pytest.raises(NewerState) as caught:
        offline.refuse_newer(path)
    assert "its schema is 999, this hive knows" in caught.value.summary
    assert "the last that started on it was 0.9.0+abc" in caught.value.summary
    assert "`hive restore BACKUP --only database`" in caught.value.hint


async def test_a_newer_schema_without_our_tables_is_refused_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "hive.db"
    async with await Database.open(path):
        pass
    make_newer(path, "DROP TABLE events;")
    with pytest.raises(NewerState, match="newer hive"):
        offline.refuse_newer(path)


@pytest.mark.parametrize("index", [True, False])
async def test_a_file_that_was_not_closed_is_refused_and_its_log_is_left_as_it_is(tmp_path: Path, index: bool) -> None:
    """Checkpointed once, then killed: the file has the newer schema, the log the rest."""
    path, copy = tmp_path / "a" / "hive.db", tmp_path / "b"
    path.parent.mkdir()
    copy.mkdir()
    async with await Database.open(path) as db:
        await db.write(lambda connection: connection.execute("PRAGMA user_version = 999"))
        await db.read(lambda connection: connection.execute("PRAGMA wal_checkpoint").fetchone())
        for suffix in ("", "-wal", "-shm") if index else ("", "-wal"):
            shutil.copy2(f"{path}{suffix}", copy)
    before = snapshot(copy)
    with pytest.raises(NewerState):
        offline.refuse_newer(copy / "hive.db")
    assert snapshot(copy) == before


@pytest.mark.parametrize("index", [True, False])
async def test_a_schema_that_only_the_log_has_is_seen(tmp_path: Path, index: bool) -> None:
    path, copy = tmp_path / "a" / "hive.db", tmp_path / "b"
    path.parent.mkdir()
    copy.mkdir()
    async with await Database.open(path) as db:
        await db.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        await db.write(lambda connection: connection.execute("PRAGMA user_version = 999"))
        for suffix in ("", "-wal", "-shm") if index else ("", "-wal"):
            shutil.copy2(f"{path}{suffix}", copy)
    before = snapshot(copy)
    with pytest.raises(NewerState, match=str(copy)):
        offline.refuse_newer(copy / "hive.db")
    assert snapshot(copy) == before


def test_what_is_absent_or_damaged_is_for_the_open_to_find(tmp_path: Path) -> None:
    offline.refuse_newer(tmp_path / "hive.db")
    (tmp_path / "hive.db").write_bytes(b"no database" * 1000)
    offline.refuse_newer(tmp_path / "hive.db")
    assert [path.name for path in tmp_path.iterdir()] == ["hive.db"]
