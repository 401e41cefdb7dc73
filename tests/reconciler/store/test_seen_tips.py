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
        await asyncio.gather(*(store.save(ALICE, f"s#{number}", A, 3) for number in range(MOST + 5)))
        assert len((await store.load())[ALICE]) == MOST
        await store.forget(ALICE)
        assert list(await store.load()) == ["bob"]
