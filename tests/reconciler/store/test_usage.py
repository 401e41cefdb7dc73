"""The rows of turns: each once, within bounds, with sums of each day that outlive them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from reconciler.plan.budget import DAY, Sums, day_of
from reconciler.store import usage
from reconciler.store.database import Database
from reconciler.store.usage import KEEP_DAYS, MODELS_MOST, OTHER, SUMS_DAYS, Turn

NOW = 20_000 * DAY + 43_200.0
TURN = Turn("alice", "log1", 1, NOW, "claude", "haiku", "bob", 2.0, "ok", True, 100, 20, 5, 0.5, {"Bash": 2})


async def add(db: Database, turn: Turn, now: float = NOW) -> float | None:
    return await db.write(partial(usage.insert, turn=turn, now=now))


async def count(db: Database, table: str) -> int:
    return await db.read(lambda connection: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]))


async def test_a_turn_is_kept_as_it_was_given(db: Database) -> None:
    assert await add(db, TURN) == NOW
    assert await db.read(partial(usage.newest, agent="alice", limit=9)) == [TURN]


async def test_a_turn_that_is_reported_again_is_added_once(db: Database) -> None:
    await add(db, TURN)
    assert await add(db, replace(TURN, cost=9.0)) is None
    assert await db.read(partial(usage.sums, day=day_of(NOW))) == {"alice": Sums(1, 120, 0.5)}


@pytest.mark.parametrize("change", [{"log": "log2"}, {"id": 2}, {"agent": "bob"}])
async def test_another_log_id_or_agent_is_another_turn(db: Database, change: dict[str, object]) -> None:
    await add(db, TURN)
    assert await add(db, replace(TURN, **change)) == NOW  # type: ignore[arg-type]
    assert await count(db, "turns") == 2


async def test_a_time_in_the_future_is_now(db: Database) -> None:
    assert await add(db, replace(TURN, at=NOW + 9 * DAY)) == NOW


async def test_a_turn_cannot_be_moved_to_a_day_before_that_of_the_last_one(db: Database) -> None:
    await add(db, TURN)
    assert await add(db, replace(TURN, id=2, at=NOW - DAY)) == NOW
    assert await db.read(partial(usage.sums, day=day_of(NOW - DAY))) == {}


async def test_a_turn_of_yesterday_that_arrives_late_counts_for_yesterday(db: Database) -> None:
    await add(db, replace(TURN, at=NOW - DAY))
    assert await db.read(partial(usage.sums, day=day_of(NOW))) == {}
    assert set(await db.read(partial(usage.sums, day=day_of(NOW - DAY)))) == {"alice"}


async def test_a_clock_that_was_ahead_does_not_date_later_turns_into_the_future(db: Database) -> None:
    await add(db, replace(TURN, at=NOW + 300 * DAY), now=NOW + 300 * DAY)
    assert await add(db, replace(TURN, id=2)) == NOW


async def test_a_turn_older_than_rows_are_kept_is_left_out(db: Database) -> None:
    assert await add(db, replace(TURN, at=NOW - (KEEP_DAYS + 1) * DAY)) is None
    assert await count(db, "turn_days") == 0


async def test_a_turn_that_waited_is_counted_apart(db: Database) -> None:
    await add(db, replace(TURN, counts=False, ending="parked", input_tokens=None, output_tokens=None, cost=None))
    (total,) = await db.read(partial(usage.totals, agent=None, since=NOW))
    assert (total.turns, total.waited, total.input_tokens, total.cost) == (0, 1, 0, 0.0)


async def test_totals_are_those_of_each_agent_and_model_since_a_day(db: Database) -> None:
    await add(db, replace(TURN, at=NOW - 3 * DAY))
    await add(db, replace(TURN, id=2))
    await add(db, replace(TURN, id=3, model="opus"))
    await add(db, replace(TURN, agent="bob"))
    rows = await db.read(partial(usage.totals, agent=None, since=NOW))
    assert [(row.agent, row.model, row.turns) for row in rows] == [
        ("alice", "haiku", 1),
        ("alice", "opus", 1),
        ("bob", "haiku", 1),
    ]
    (alice,) = await db.read(partial(usage.totals, agent="bob", since=0.0))
    assert alice.agent == "bob"


async def test_an_agent_that_names_ever_new_models_fills_a_bounded_number_of_sums(db: Database) -> None:
    for number in range(MODELS_MOST + 9):
        await add(db, replace(TURN, id=number, model=f"m{number}"))
    rows = await db.read(partial(usage.totals, agent="alice", since=NOW))
    assert len(rows) == MODELS_MOST + 1
    assert {row.model: row.turns for row in rows}[OTHER] == 9


async def test_absurd_numbers_cannot_overflow_a_sum(db: Database) -> None:
    def work(connection: object) -> None:
        for number in range(3):
            turn = replace(TURN, id=number, input_tokens=2**62)
            usage.insert(connection, turn, NOW)  # type: ignore[arg-type]

    await db.write(work)
    (total,) = await db.read(partial(usage.totals, agent=None, since=NOW))
    assert total.input_tokens < 2**63


async def test_old_rows_go_and_their_sums_stay(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "ROWS_MOST", 5)
    for number in range(8):
        await add(db, replace(TURN, id=number, at=NOW + number), now=NOW + number)
    await add(db, replace(TURN, agent="bob"), now=NOW)
    await db.write(partial(usage.prune, now=NOW))
    kept = await db.read(partial(usage.newest, agent="alice", limit=99))
    assert [turn.id for turn in kept] == [7, 6, 5, 4, 3]
    assert len(await db.read(partial(usage.newest, agent="bob", limit=99))) == 1
    await db.write(partial(usage.prune, now=NOW + (KEEP_DAYS + 1) * DAY))
    assert await count(db, "turns") == 0
    assert (await db.read(partial(usage.sums, day=day_of(NOW))))["alice"].turns == 8
    await db.write(partial(usage.prune, now=NOW + (SUMS_DAYS + 1) * DAY))
    assert await count(db, "turn_days") == 0


async def test_rows_are_pruned_as_they_come(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "ROWS_MOST", 5)
    monkeypatch.setattr(usage, "_PRUNE_EVERY", 4)
    for number in range(20):
        await add(db, replace(TURN, id=number))
    assert await count(db, "turns") == 5


async def test_a_purged_agent_leaves_nothing(db: Database) -> None:
    await add(db, TURN)
    await add(db, replace(TURN, agent="bob"))
    await db.write(partial(usage.forget, agent="alice"))
    assert await count(db, "turns") == await count(db, "turn_days") == 1


@pytest.mark.parametrize("query", [partial(usage.sums, day=day_of(NOW)), usage.overruns])
async def test_an_empty_store_has_no_sums(db: Database, query: Callable[..., object]) -> None:
    assert await db.read(query) == {}
