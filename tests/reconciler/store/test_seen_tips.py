"""The tips that became proposals, in the database."""

from __future__ import annotations

import asyncio
from pathlib import Path

from meta.names import AgentName, Sha
from reconciler.store.database import Database
from reconciler.store.seen_tips import MOST, SeenTips

ALICE = AgentName("alice")
A, B, C = (Sha(letter * 40) for letter in "abc")


async def test_seen_tips_outlive_the_daemon_and_are_bounded(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "hive.db") as database:
        store = SeenTips(database)
        await store.save(ALICE, "proposed/push.git#main", A, 1)
        await store.save(ALICE, "proposed/push.git#main", B, 2)
        await store.save(AgentName("bob"), "proposed/push.git#main", C, 2)
    async with await Database.open(tmp_path / "hive.db") as database:
        store = SeenTips(database)
        assert (await store.load())[ALICE] == {"proposed/push.git#main": B}
        rows = [(ALICE, f"s#{number}", A, 3) for number in range(MOST)]
        await database.write(
            lambda c: c.executemany("INSERT INTO tips (agent, source, sha, at) VALUES (?, ?, ?, ?)", rows)
        )
        await asyncio.gather(*(store.save(ALICE, f"t#{number}", A, 4) for number in range(100)))
        kept = (await store.load())[ALICE]
        assert MOST <= len(kept) < MOST + 100
        assert "t#0" in kept
        await store.forget(ALICE)
        assert list(await store.load()) == ["bob"]
