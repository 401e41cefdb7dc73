"""Memos, and deaths counted per step."""

from __future__ import annotations

import logging
import sqlite3

import pytest

from meta.names import AgentName, ProposalId
from reconciler.plan.observed import Memo
from reconciler.store.database import Database
from reconciler.store.memos import Memos

ALICE, BOB = AgentName("alice"), AgentName("bob")
SEVEN = ProposalId(7)
FULL = Memo(
    crashes=3,
    last_crash=12.5,
    start_after=20.25,
    counted_exit="n1",
    transient="switching",
    expected_exit="n2",
    rollback_from=SEVEN,
    rollback_failed=True,
    healthy_nonce="n3",
    rebuilt=2,
)


async def loaded(db: Database, incarnation: str) -> tuple[Memos, dict[AgentName, Memo]]:
    memos = Memos(db)
    return memos, await memos.load(incarnation)


async def test_a_memo_comes_back_as_it_was(db: Database) -> None:
    memos, nothing = await loaded(db, "one")
    assert nothing == {}
    await memos.save(ALICE, FULL)
    await memos.save(BOB, Memo())
    assert (await loaded(db, "two"))[1] == {ALICE: FULL, BOB: Memo()}


async def test_saving_the_same_memo_again_writes_nothing(db: Database) -> None:
    memos, _ = await loaded(db, "one")
    await memos.save(ALICE, FULL)
    changes: list[None] = []
    db.on_change(lambda: changes.append(None))
    await memos.save(ALICE, FULL)
    assert changes == []
    await memos.save(ALICE, Memo())
    assert changes == [None]


async def test_a_step_that_a_dead_daemon_was_in_counts_one_death(db: Database) -> None:
    memos, _ = await loaded(db, "one")
    await memos.begin_step(ALICE, SEVEN, "build")
    memos, found = await loaded(db, "two")
    assert found == {ALICE: Memo(deaths={(SEVEN, "build"): 1})}
    await memos.begin_step(ALICE, SEVEN, "build")
    assert (await loaded(db, "three"))[1][ALICE].deaths == {(SEVEN, "build"): 2}
    assert (await loaded(db, "four"))[1][ALICE].deaths == {(SEVEN, "build"): 2}


async def test_a_step_that_ended_counts_none_and_keeps_the_deaths_before_it(db: Database) -> None:
    memos, _ = await loaded(db, "one")
    await memos.begin_step(ALICE, SEVEN, "fetch")
    await memos.end_step(ALICE, SEVEN, "fetch")
    await memos.begin_step(ALICE, SEVEN, "build")
    memos, _ = await loaded(db, "two")
    await memos.begin_step(ALICE, SEVEN, "build")
    await memos.end_step(ALICE, SEVEN, "build")
    assert (await loaded(db, "three"))[1] == {ALICE: Memo(deaths={(SEVEN, "build"): 1})}


async def test_the_same_incarnation_does_not_count_its_own_steps(db: Database) -> None:
    memos, _ = await loaded(db, "one")
    await memos.begin_step(ALICE, SEVEN, "build")
    assert (await loaded(db, "one"))[1] == {}


async def test_saving_a_memo_does_not_touch_the_deaths(db: Database) -> None:
    memos, _ = await loaded(db, "one")
    await memos.begin_step(ALICE, SEVEN, "build")
    memos, found = await loaded(db, "two")
    await memos.save(ALICE, Memo(crashes=1, deaths=found[ALICE].deaths))
    assert (await loaded(db, "three"))[1] == {ALICE: Memo(crashes=1, deaths={(SEVEN, "build"): 1})}


async def test_a_forgotten_agent_leaves_nothing(db: Database) -> None:
    memos, _ = await loaded(db, "one")
    await memos.save(ALICE, FULL)
    await memos.begin_step(ALICE, SEVEN, "build")
    await memos.forget(ALICE)
    memos, found = await loaded(db, "two")
    assert found == {}
    await memos.save(ALICE, FULL)
    assert (await loaded(db, "three"))[1] == {ALICE: FULL}


async def test_a_memo_that_does_not_decode_is_logged_and_empty_and_the_others_are_there(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    memos, _ = await loaded(db, "one")
    await memos.save(BOB, FULL)

    def spoil(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO memos VALUES ('alice', '{\"crashes\": \"3\"}')")

    await db.write(spoil)
    with caplog.at_level(logging.ERROR):
        assert (await loaded(db, "two"))[1] == {ALICE: Memo(), BOB: FULL}
    assert "alice" in caplog.text


async def test_a_memo_of_another_version_is_read_as_far_as_it_is_known(db: Database) -> None:
    def other(connection: sqlite3.Connection) -> None:
        connection.execute('INSERT INTO memos VALUES (\'alice\', \'{"crashes": 3, "mood": "good"}\')')

    await db.write(other)
    assert (await loaded(db, "one"))[1] == {ALICE: Memo(crashes=3)}


async def test_deaths_of_an_id_that_ended_are_removed_at_a_start(db: Database) -> None:
    memos, _ = await loaded(db, "one")
    for id in (SEVEN, ProposalId(8)):
        await memos.begin_step(ALICE, id, "build")
    await loaded(db, "two")
    card = "INSERT INTO cards (agent, id, kind, state, status, commit_ref, requested_at) VALUES "
    values = (
        "('alice', 7, 'apply_commit', 'failed', 'failed', '', 1), ('alice', 8, 'apply_commit', 'building', '', '', 1)"
    )
    await db.write(lambda connection: connection.execute(card + values))
    assert (await loaded(db, "three"))[1] == {ALICE: Memo(deaths={(ProposalId(8), "build"): 1})}
