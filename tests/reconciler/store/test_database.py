"""The database: transactions, group commit, migrations, damage, leaks."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from meta.errors import PermanentError, TransientError
from reconciler.store import database, schema
from reconciler.store.database import Database


def put(value: str, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO meta VALUES (?, '')", (value,))


def names(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM meta WHERE name != 'uuid'")}


def fail(connection: sqlite3.Connection) -> None:
    put("half", connection)
    raise LookupError("on purpose")


async def hold(db: Database) -> tuple[threading.Event, asyncio.Task[None]]:
    """Keep the writer busy until the event is set, so that what is written meanwhile forms one batch."""
    held, free = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> None:
        held.set()
        assert free.wait(10)

    task = asyncio.create_task(db.write(work))
    await asyncio.to_thread(held.wait, 10)
    return free, task


async def test_a_write_is_there_after_reopening(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "hive.db") as db:
        await db.write(partial(put, "a"))
    async with await Database.open(tmp_path / "hive.db") as db:
        assert await db.read(names) == {"a"}


async def test_a_read_sees_every_write_that_was_answered(db: Database) -> None:
    for number in range(20):
        await db.write(partial(put, str(number)))
        assert str(number) in await db.read(names)


async def test_a_failing_write_changes_nothing_and_raises_in_its_caller(db: Database) -> None:
    with pytest.raises(LookupError, match="on purpose"):
        await db.write(fail)
    assert await db.read(names) == set()


async def test_one_of_many_concurrent_writes_fails_alone(db: Database) -> None:
    works = [fail if number % 3 == 0 else partial(put, str(number)) for number in range(60)]
    outcomes = await asyncio.gather(*(db.write(work) for work in works), return_exceptions=True)
    assert [isinstance(outcome, LookupError) for outcome in outcomes] == [number % 3 == 0 for number in range(60)]
    assert await db.read(names) == {str(number) for number in range(60) if number % 3}


async def test_writes_that_wait_together_share_one_commit(db: Database) -> None:
    commits = 0

    def changed() -> None:
        nonlocal commits
        commits += 1

    free, holder = await hold(db)
    db.on_change(changed)
    writers = [asyncio.create_task(db.write(partial(put, str(number)))) for number in range(50)]
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(holder, *writers)
    assert commits == 1


async def test_a_cancelled_caller_does_not_break_the_batch(db: Database) -> None:
    free, holder = await hold(db)
    first, second = (asyncio.create_task(db.write(partial(put, name))) for name in ("first", "second"))
    await asyncio.sleep(0)
    first.cancel()
    holder.cancel()
    free.set()
    await second
    assert await db.read(names) == {"second"}
    outcomes = await asyncio.gather(first, holder, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


async def test_a_full_disk_is_transient_and_hurts_only_the_write_that_does_not_fit(db: Database) -> None:
    def limit(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")

    await db.write(limit)
    free, holder = await hold(db)
    small, big, last = (
        asyncio.create_task(db.write(partial(put, name))) for name in ("small", "big" * 100_000, "last")
    )
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(holder, small, last)
    with pytest.raises(TransientError, match="disk is full") as caught:
        await big
    assert caught.value.hint
    assert await db.read(names) == {"small", "last"}


async def test_a_batch_that_is_lost_inside_raises_in_its_callers_and_cancels_none(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lose(*_: object) -> bool:
        raise LookupError("on purpose")

    with monkeypatch.context() as broken:
        broken.setattr("reconciler.store.database.run_batch", lose)
        outcomes = await asyncio.gather(*(db.write(partial(put, str(n))) for n in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    assert "a commit failed as a whole" in caplog.text
    await db.write(partial(put, "next"))
    assert await db.read(names) == {"next"}


async def test_a_listener_that_fails_holds_up_neither_writes_nor_other_listeners(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise LookupError("on purpose")

    heard = asyncio.Event()
    db.on_change(broken)
    db.on_change(heard.set)
    free, holder = await hold(db)
    first = asyncio.create_task(db.write(partial(put, "first")))
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(holder, first)
    await db.write(partial(put, "second"))
    assert heard.is_set()
    assert await db.read(names) == {"first", "second"}
    assert "a listener of the database failed" in caplog.text


async def test_a_reader_cannot_write(db: Database) -> None:
    with pytest.raises((PermanentError, sqlite3.OperationalError)):
        await db.read(partial(put, "x"))
    assert await db.read(names) == set()


async def test_a_mistake_in_the_sql_stays_what_it_is(db: Database) -> None:
    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT * FROM no_such_table")

    with pytest.raises(sqlite3.OperationalError, match="no_such_table"):
        await db.write(wrong)


async def test_durability_is_full_and_tables_are_strict(db: Database) -> None:
    def look(connection: sqlite3.Connection) -> tuple[object, ...]:
        return tuple(
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        )

    def loose(connection: sqlite3.Connection) -> list[str]:
        rows = connection.execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict")
        return [row[0] for row in rows if not row[0].startswith("sqlite_")]

    assert await db.write(look) == ("wal", 2, 1)
    assert await db.read(loose) == []


async def test_the_uuid_stays_with_the_file_and_is_new_in_a_new_one(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "a.db") as one:
        assert one.created
        first = one.uuid
    async with await Database.open(tmp_path / "a.db") as again, await Database.open(tmp_path / "b.db") as other:
        assert again.uuid == first != other.uuid
        assert not again.created


async def test_only_the_owner_may_read_the_file(db: Database) -> None:
    assert stat.S_IMODE(db.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("version", range(len(schema.migrations())))
async def test_an_older_database_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    def shape(connection: sqlite3.Connection) -> list[tuple[str, str]]:
        return connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()

    old = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    schema.migrate(old, upto=version)
    assert old.execute("PRAGMA user_version").fetchone() == (version,)
    old.close()
    async with await Database.open(tmp_path / "old.db") as db, await Database.open(tmp_path / "new.db") as new:
        assert await db.read(shape) == await new.read(shape)


async def test_messages_of_an_older_database_count_with_the_size_that_they_have(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    schema.migrate(old, upto=4)
    for body in ("", "é" * 5_000):
        old.execute("INSERT INTO messages (sender, recipient, body, at) VALUES ('a', 'b', ?, 0)", (body,))
    old.close()
    async with await Database.open(tmp_path / "old.db") as db:
        sizes = await db.read(lambda connection: connection.execute("SELECT size FROM messages ORDER BY id").fetchall())
    assert sizes == [(1024,), (10_000,)]


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (schema.migrations()[0], "CREATE TABLE extra (x TEXT) STRICT; INSERT INTO nowhere VALUES (1);")
    monkeypatch.setattr(schema, "migrations", lambda: broken)
    connection = sqlite3.connect(tmp_path / "hive.db", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        schema.migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    connection.close()


async def test_a_database_of_a_newer_hive_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hive.db"
    async with await Database.open(path) as db:
        await db.write(lambda connection: connection.execute("PRAGMA user_version = 999"))
    with pytest.raises(PermanentError, match="newer hive") as caught:
        await Database.open(path)
    assert "install that hive again" in caught.value.hint
    assert [entry.name for entry in tmp_path.iterdir()] == ["hive.db"]


@pytest.mark.parametrize("damage", ["garbage", "header", "middle", "cut"])
async def test_a_damaged_file_is_moved_aside_and_a_new_one_made(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "hive.db"
    async with await Database.open(path) as db:
        for number in range(200):
            await db.write(partial(put, f"{number:0500}"))
        first = db.uuid
    data = path.read_bytes()
    path.write_bytes(
        {
            "garbage": b"this is no database, and long enough to be looked at" * 50,
            "header": b"\xff" * 100 + data[100:],
            "middle": data[:4096] + b"\xff" * (len(data) - 4096),
            "cut": data[: len(data) // 2],
        }[damage]
    )
    async with await Database.open(path) as db:
        assert db.set_aside is not None
        assert db.set_aside.name.startswith("hive.db.corrupt-")
        assert db.set_aside.exists()
        assert db.created
        assert db.uuid != first
        await db.write(partial(put, "new"))
        assert await db.read(names) == {"new"}


async def test_a_path_that_cannot_be_opened_is_an_error_with_a_hint(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "hive.db"):
        with pytest.raises(PermanentError, match="cannot open") as caught:
            await Database.open(path)
        assert caught.value.hint


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "hive.db")
    await db.close()
    await db.close()
    with pytest.raises(TransientError, match="closed"):
        await db.write(partial(put, "x"))
    with pytest.raises(TransientError, match="closed"):
        await db.read(names)


async def test_close_commits_what_was_asked_for(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "hive.db")
    free, holder = await hold(db)
    writers = [asyncio.create_task(db.write(partial(put, str(number)))) for number in range(5)]
    await asyncio.sleep(0)
    free.set()
    await db.close()
    await asyncio.gather(holder, *writers)
    async with await Database.open(tmp_path / "hive.db") as db:
        assert len(await db.read(names)) == 5


async def test_nothing_is_left_after_close_or_a_failed_open(tmp_path: Path) -> None:
    await asyncio.to_thread(int)  # the loop's own helper thread is made once, and stays
    newer = tmp_path / "newer.db"
    async with await Database.open(newer) as db:
        await db.write(lambda connection: connection.execute("PRAGMA user_version = 999"))
    threads, descriptors = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(5):
        async with await Database.open(tmp_path / f"{number}.db") as db:
            await asyncio.gather(*(db.write(partial(put, str(value))) for value in range(10)))
            await db.read(names)
        with pytest.raises(PermanentError):
            await Database.open(newer)
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    assert {path.name for path in tmp_path.iterdir()} == {"newer.db", *(f"{number}.db" for number in range(5))}


async def test_the_write_ahead_log_becomes_short_again_once_a_reader_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOG_BYTES", 2**16)
    monkeypatch.setattr(database, "LOG_BYTES", 2**16)
    path = tmp_path / "hive.db"
    async with await Database.open(path) as db:
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        for number in range(100):
            await db.write(partial(put, f"{number}{'x' * 40_000}"))
        assert await db.checkpoint() > 2**20
        reader.close()
        assert await db.checkpoint() <= 2**16
        await db.write(partial(put, "after"))
        assert "after" in await db.read(names)


async def test_a_log_that_a_reader_made_long_is_cut_by_the_next_writes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOG_BYTES", 2**16)
    path = tmp_path / "hive.db"
    async with await Database.open(path) as db:
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        for number in range(110):
            await db.write(partial(put, f"{number}{'x' * 40_000}"))
        reader.close()
        for number in range(3):
            await db.write(partial(put, f"after {number}"))
        assert path.with_name("hive.db-wal").stat().st_size <= 2**17
