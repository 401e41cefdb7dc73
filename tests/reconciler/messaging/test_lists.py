"""The broker: dead letters, damaged rows, what is cleaned away, and receivers that never ack."""

from __future__ import annotations

import sqlite3

import pytest

from meta.errors import BadInput, NotFound
from reconciler.messaging.broker import Broker, Quota
from reconciler.store.database import Database
from reconciler.store.events import log
from tests.support.broker import NOW, bodies, broker_on

DAY = 24 * 3600.0


async def die(broker: Broker, agent: str) -> None:
    """Take everything and never ack, five times."""
    for _ in range(5):
        await bodies(broker, agent)
        await broker.requeue_inflight(agent)


async def test_a_message_that_is_never_acked_is_a_dead_letter_after_the_fifth_time(
    db: Database, broker: Broker
) -> None:
    id = await broker.send("alice", "bob", "poison")
    for attempt in range(5):
        got = await broker.recv("bob", 0)
        assert got is not None
        assert got.redelivered == (attempt > 0)
        assert await broker.dead_letters() == []
        assert await broker.requeue_inflight("bob") == (0 if attempt == 4 else 1)
    assert await broker.recv("bob", 0) is None
    (letter,) = await broker.dead_letters()
    assert (letter.id, letter.sender, letter.recipient, letter.body) == (id, "alice", "bob", "poison")
    assert (letter.at, letter.attempts, letter.dead_at) == (1234, 5, 1234)
    assert await broker.dead_all() == {"bob": 1}
    assert (await broker.unread("bob"), await broker.unread_all()) == (0, {"alice": 1})
    assert [row.id for row in await broker.recent("bob", 9)] == [id]
    (event,) = await db.read(lambda connection: log.after(connection, 0, 9))
    assert (event.kind, event.agent, event.data) == (
        "message_dead",
        "bob",
        {"id": id, "from": "alice", "attempts": 5, "failed": 0},
    )


async def test_a_dead_letter_does_not_hold_up_what_came_after_it(broker: Broker) -> None:
    await broker.send("alice", "bob", "poison")
    await die(broker, "bob")
    await broker.send("alice", "bob", "good")
    assert await bodies(broker, "bob") == ["good"]
    assert await broker.ack_turn("bob") == 1
    assert len(await broker.dead_letters()) == 1


async def test_a_revived_dead_letter_is_handed_out_again_and_can_die_again(broker: Broker) -> None:
    id = await broker.send("alice", "bob", "once more")
    await die(broker, "bob")
    await broker.revive(id)
    assert await broker.dead_letters() == []
    got = await broker.recv("bob", 0)
    assert got is not None
    assert (got.body, got.redelivered) == ("once more", True)
    await die(broker, "bob")
    assert [letter.id for letter in await broker.dead_letters()] == [id]


async def test_a_discarded_dead_letter_is_gone_and_what_is_none_cannot_be_discarded(broker: Broker) -> None:
    dead, alive = await broker.send("alice", "bob", "x"), await broker.send("bob", "alice", "y")
    await die(broker, "bob")
    await broker.discard(dead)
    assert await broker.dead_letters() == []
    for id in (dead, alive, 999):
        with pytest.raises(NotFound, match="no dead letter"):
            await broker.discard(id)
        with pytest.raises(NotFound, match="no dead letter"):
            await broker.revive(id)


async def test_a_dead_letter_of_a_destroyed_agent_is_not_revived(db: Database) -> None:
    names = ["bob"]
    broker = Broker(db, lambda name: name in names)
    id = await broker.send("alice", "bob", "x")
    await die(broker, "bob")
    names.clear()
    with pytest.raises(BadInput, match="no agent"):
        await broker.revive(id)


def damage(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE messages SET body = CAST(x'ff00fe' AS TEXT), sender = CAST(x'fe' AS TEXT) WHERE id = 2")
    connection.execute("INSERT INTO messages (sender, recipient, body, at) VALUES ('x', CAST(x'ff' AS TEXT), 'y', 0)")
    connection.execute("INSERT INTO message_keys VALUES (CAST(x'ff' AS TEXT), 'bob', CAST(x'fe' AS TEXT), 1, 1)")
    connection.execute("INSERT INTO receivers VALUES (CAST(x'ff' AS TEXT), 1)")


async def test_a_damaged_row_is_shown_with_an_alarm_and_hides_no_other(
    db: Database, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    for body in ("before", "damaged", "after"):
        await broker.send("alice", "bob", body)
    await db.write(damage)
    listed = await broker.recent("bob", 9)
    assert [row.body.startswith("[hive: message 2 is damaged") for row in listed] == [False, True, False]
    got = await bodies(broker, "bob")
    assert (got[0], got[2]) == ("before", "after")
    assert "message 2 is damaged" in got[1]
    assert "message 2 is damaged" in caplog.text
    assert await broker.unread_all() == {"\ufffd": 1}
    await die(broker, "bob")
    assert [letter.id for letter in await broker.dead_letters()] == [3, 2, 1]
    assert await broker.send("alice", "bob", "x", key="k") == await broker.send("alice", "bob", "x", key="k")
    await broker.clean(NOW + 31 * DAY)


async def test_what_was_acked_is_cleaned_after_30_days_and_what_was_not_is_kept(db: Database, broker: Broker) -> None:
    ids = [await broker.send("alice", "bob", str(number), key=str(number)) for number in range(3)]
    await broker.recv("bob", 0)
    await broker.ack_turn("bob")
    await broker.recv("bob", 0)
    assert await broker.clean(NOW + 30 * DAY - 2) == 0
    assert await broker.clean(NOW + 30 * DAY + 2) == 1
    assert [row.id for row in await broker.recent("bob", 9)] == ids[:0:-1]
    assert await broker.ack_turn("bob") == 1
    assert await bodies(broker, "bob") == ["2"]


async def test_keys_are_forgotten_after_30_days_but_not_those_of_helper_events(db: Database, broker: Broker) -> None:
    from functools import partial

    from meta.wire.events import Killed
    from reconciler.store.notices import notify

    told = partial(notify, recipient="manager", event=Killed(agent="bob"), at=7, key="event:7:killed")
    await broker.send("alice", "bob", "x", key="k")
    await db.write(told)
    await broker.clean(NOW + 31 * DAY)
    assert await db.write(told) is None
    assert await broker.send("alice", "bob", "x", key="k") == 3


async def test_a_receiver_that_never_acks_gets_everything_once_and_does_not_fill_its_inbox(db: Database) -> None:
    broker = Broker(db, lambda name: True, quota=Quota(10, 10 * 1024))
    for number in range(300):
        await broker.send("alice", "bob", str(number))
        assert await bodies(broker, "bob") == [str(number)]


async def test_of_what_a_receiver_that_never_acks_was_handed_the_newest_stays_in_flight(db: Database) -> None:
    broker = broker_on(db)
    for number in range(150):
        await broker.send("alice", "bob", str(number))
    await bodies(broker, "bob")
    restarted = broker_on(db)
    assert await restarted.requeue_inflight("bob") == 100
    assert (await bodies(restarted, "bob"))[0] == "50"


async def test_a_receiver_that_acked_once_is_never_acked_for_even_by_a_later_daemon(db: Database) -> None:
    await broker_on(db).ack_turn("bob")
    broker = broker_on(db)
    for number in range(150):
        await broker.send("alice", "bob", str(number))
    await bodies(broker, "bob")
    assert await broker.requeue_inflight("bob") == 150
