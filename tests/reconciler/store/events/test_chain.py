"""The chain of events: whatever is changed, removed or put in is found, also after pruning and in an old database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from meta.names import AgentName
from reconciler.store import offline, schema
from reconciler.store.database import Database
from reconciler.store.events import chain, keys, log

ALICE = AgentName("alice")


async def add(db: Database, count: int) -> None:
    def work(connection: sqlite3.Connection) -> None:
        for number in range(count):
            key = keys.unhealthy(ALICE, f"k{number}")
            log.append(connection, 1.5, "agent_healthy", ALICE, {"number": number, "word": "ü"}, key)

    await db.write(work)


async def test_every_event_is_chained_to_the_one_before_from_the_uuid_on(db: Database) -> None:
    await add(db, 3)
    rows = await db.read(lambda c: c.execute("SELECT n, at, kind, agent, data, hash FROM events ORDER BY n").fetchall())
    before = chain.genesis(db.uuid)
    for row in rows:
        assert row[5] == chain.link(before, *row[:5])
        before = row[5]
    found = await db.read(chain.verify)
    assert found == chain.Chain(db.uuid, 1, 3, before)


async def test_a_database_without_events_is_sound(db: Database) -> None:
    assert (await db.read(chain.verify)).broken is None


CHANGES = {
    "UPDATE events SET data = '{}' WHERE n = 3": 3,
    "UPDATE events SET at = 2 WHERE n = 3": 3,
    "UPDATE events SET kind = 'repaired' WHERE n = 1": 1,
    "UPDATE events SET agent = NULL WHERE n = 5": 5,
    "UPDATE events SET hash = NULL WHERE n = 2": 2,
    "UPDATE events SET hash = '00' WHERE n = 2": 2,
    "DELETE FROM events WHERE n = 2": 2,
    "DELETE FROM events WHERE n = 1": 1,
    "DELETE FROM events WHERE n = 5": 5,
    "DELETE FROM events": 1,
    "UPDATE events SET n = 6 WHERE n = 5": 5,
    "UPDATE event_anchor SET hash = '00'": 1,
    "DELETE FROM event_anchor": 1,
    "INSERT INTO events (at, kind, data) VALUES (1, 'repaired', '{}')": 6,
}


@pytest.mark.parametrize("change", list(CHANGES))
async def test_the_first_event_that_was_changed_is_named(db: Database, change: str) -> None:
    await add(db, 5)
    await db.write(lambda c: c.execute(change))
    broken = (await db.read(chain.verify)).broken
    assert broken is not None
    assert broken[0] == CHANGES[change]


async def test_releasing_a_key_does_not_break_the_chain(db: Database) -> None:
    await add(db, 2)
    await db.write(lambda c: log.release(c, keys.unhealthy(ALICE, "k1")))
    assert (await db.read(chain.verify)).broken is None


@pytest.mark.parametrize("keep", [0, 1, 3, 10])
async def test_pruning_keeps_what_the_rest_is_chained_to(db: Database, keep: int) -> None:
    await add(db, 5)
    head = await db.read(chain.head)
    await db.write(lambda c: log.prune(c, keep))
    found = await db.read(chain.verify)
    assert (found.broken, found.head, found.first) == (None, head, 6 - min(keep, 5))
    await db.write(lambda c: log.append(c, 1.0, "repaired", None, {}))
    found = await db.read(chain.verify)
    assert (found.broken, found.last) == (None, 6)
    await db.write(lambda c: c.execute("UPDATE event_anchor SET n = n + 1"))
    assert (await db.read(chain.verify)).broken is not None


async def test_a_transaction_that_fails_leaves_the_chain_whole(db: Database) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        log.append(connection, 1.0, "repaired", None, {})
        raise RuntimeError("no")

    await add(db, 1)
    with pytest.raises(RuntimeError):
        await db.write(fails)
    await db.write(lambda c: log.append(c, 1.0, "repaired", None, {}))
    assert (await db.read(chain.verify)).broken is None


@pytest.mark.parametrize("pruned", [False, True])
async def test_the_events_of_an_older_database_are_chained_before_the_next(tmp_path: Path, pruned: bool) -> None:
    old = sqlite3.connect(tmp_path / "hive.db", isolation_level=None)
    schema.migrate(old, upto=5)
    for number in range(4):
        old.execute("INSERT INTO events (at, kind, data) VALUES (?, 'repaired', '{}')", (number,))
    if pruned:
        old.execute("DELETE FROM events WHERE n < 3")
    old.close()
    assert offline.read_events(tmp_path / "hive.db").chain.chained is False
    async with await Database.open(tmp_path / "hive.db") as db:
        assert (await db.read(chain.verify)).chained is False
        await db.write(lambda c: log.append(c, 1.0, "repaired", None, {}))
        found = await db.read(chain.verify)
        assert (found.chained, found.broken, found.first, found.last) == (True, None, 3 if pruned else 1, 5)
        await db.write(lambda c: c.execute("UPDATE events SET at = 9 WHERE n = 3"))
        broken = (await db.read(chain.verify)).broken
        assert broken is not None
        assert broken[0] == 3


async def test_looking_at_a_database_changes_nothing_open_or_closed(tmp_path: Path) -> None:
    path = tmp_path / "hive.db"
    async with await Database.open(path) as db:
        await add(db, 2)
        assert offline.read_events(path).chain.last == 2
        await add(db, 0)
        offline.copy(path, tmp_path / "copy.db")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    record = offline.read_events(path, n=1)
    assert record.hash is not None
    assert offline.read_events(tmp_path / "copy.db").chain == record.chain
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    assert sorted(before) == ["copy.db", "hive.db"]
