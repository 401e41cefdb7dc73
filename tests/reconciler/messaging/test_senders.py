"""The broker: who a message is from and whom it is for, and that none can pretend."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from functools import partial

import pytest

from meta.errors import BadInput, Refused, TransientError
from meta.names import RESERVED
from meta.wire.events import HELPER_EVENT, Killed
from reconciler.messaging.broker import Broker
from reconciler.store import notices
from reconciler.store.database import Database
from reconciler.store.notices import notify, post
from tests.support.broker import bodies, broker_on


async def stored(db: Database) -> int:
    return int(await db.read(lambda connection: connection.execute("SELECT count(*) FROM messages").fetchone()[0]))


async def test_a_broadcast_goes_to_every_agent_but_the_sender_and_says_so(db: Database, broker: Broker) -> None:
    first = await broker.send("alice", "*", "lunch")
    assert await bodies(broker, "alice") == []
    assert await broker.unread("operator") == 0
    got = [await broker.recv(agent, 0) for agent in ("bob", "manager")]
    assert [(each.sender, each.body, each.broadcast) for each in got if each] == [
        ("alice", "[broadcast] lunch", True)
    ] * 2
    assert first == min(each.id for each in got if each)
    assert [row.body for row in await broker.recent("bob", 5)] == ["[broadcast] lunch"]
    assert (await broker.send("operator", "*", "all")) and await stored(db) == 5


async def test_a_broadcast_with_nobody_to_hear_it_is_refused(db: Database) -> None:
    alone = Broker(db, lambda name: False)
    with pytest.raises(BadInput, match="no other agent"):
        await alone.send("manager", "*", "hello?")


async def test_a_key_that_comes_again_stores_nothing_and_gives_the_first_id(db: Database, broker: Broker) -> None:
    id = await broker.send("alice", "bob", "one", key="k")
    assert await broker.send("alice", "bob", "two", key="k") == id
    assert await bodies(broker, "bob") == ["one"]
    await broker.ack_turn("bob")
    assert await broker.send("alice", "bob", "three", key="k") == id
    assert await broker.send("alice", "manager", "other recipient", key="k") != id
    assert await broker.send("manager", "bob", "other sender", key="k") != id
    together = await broker.send("alice", "*", "all", key="k")
    assert await broker.send("alice", "*", "all", key="k") == together
    assert await stored(db) == 5


async def test_one_key_at_the_same_time_is_one_message(db: Database, broker: Broker) -> None:
    ids = await asyncio.gather(*(broker.send("alice", "bob", "x", key="same") for _ in range(20)))
    assert len(set(ids)) == 1 == await stored(db)


async def test_a_refused_send_does_not_use_its_key_up(db: Database) -> None:
    broker = broker_on(db, inbox_limit=1)
    await broker.send("alice", "bob", "1")
    with pytest.raises(TransientError):
        await broker.send("alice", "bob", "2", key="k")
    await broker.recv("bob", 0)
    await broker.send("alice", "bob", "2", key="k")
    assert await bodies(broker, "bob") == ["2"]


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "\ud800"])
async def test_a_key_that_cannot_be_kept_is_refused(broker: Broker, key: str) -> None:
    with pytest.raises(BadInput, match="key"):
        await broker.send("alice", "bob", "x", key=key)


async def test_a_wake_is_from_what_it_says_behind_a_mark(broker: Broker) -> None:
    await broker.wake("alice", "matrix", "ping")
    got = await broker.recv("alice", 0)
    assert got is not None
    assert (got.sender, got.body, got.origin) == ("wake:matrix", "ping", "wake")


@pytest.mark.parametrize("label", [*sorted(RESERVED), "manager", "bob", "Bob", "OPERATOR", "", " x", "a\nb", "x" * 65])
async def test_a_wake_cannot_be_from_a_reserved_name_or_an_agent(db: Database, broker: Broker, label: str) -> None:
    with pytest.raises(BadInput, match="wake"):
        await broker.wake("alice", label, "ping")
    assert await stored(db) == 0


async def test_what_is_from_the_operator_came_in_on_the_operators_side(broker: Broker) -> None:
    await broker.operator_msg("alice", "really", verified=True)
    await broker.operator_msg("alice", "perhaps", verified=False)
    got = [await broker.recv("alice", 0) for _ in range(2)]
    assert [(each.sender, each.origin) for each in got if each] == [
        ("operator", "operator"),
        ("operator:unverified", "socket"),
    ]


async def test_wakes_and_operators_messages_obey_the_limits_too(db: Database) -> None:
    broker = broker_on(db, inbox_limit=0)
    for sending in (broker.wake("alice", "x", "y"), broker.operator_msg("alice", "y", verified=False)):
        with pytest.raises(TransientError, match="inbox of alice is full"):
            await sending
    for sending in (broker.wake("carol", "x", "y"), broker.operator_msg("carol", "y", verified=True)):
        with pytest.raises(BadInput, match="no agent"):
            await sending
    for sending in (broker.wake("alice", "x", "y" * 101), broker.operator_msg("alice", "y" * 101, verified=True)):
        with pytest.raises(BadInput, match="limit is 100"):
            await sending


async def test_an_agent_writes_to_whom_its_list_names_and_always_to_the_manager(db: Database) -> None:
    async def allowed(sender: str, recipient: str) -> bool:
        return (sender, recipient) in {("alice", "bob"), ("bob", "operator")}

    broker = broker_on(db, allowed=allowed)
    for sender, to in (("alice", "bob"), ("alice", "manager"), ("bob", "operator"), ("operator", "alice")):
        await broker.send(sender, to, "yes")
    for sender, to in (("alice", "operator"), ("bob", "alice"), ("bob", "*"), ("manager", "*")):
        with pytest.raises(Refused, match=f"{sender} may not write to") as caught:
            await broker.send(sender, to, "no")
        assert "recipients" in caught.value.hint
    await broker.send("bob", "bob", "to oneself")
    assert await stored(db) == 5


async def test_a_helper_event_is_from_system_with_a_mark_of_its_own(db: Database, broker: Broker) -> None:
    event = Killed(agent="bob")
    assert await db.write(partial(notify, recipient="manager", event=event, at=7, key="killed/bob/1")) == 1
    assert await db.write(partial(notify, recipient="manager", event=event, at=8, key="killed/bob/1")) is None
    got = await broker.recv("manager", 0)
    assert got is not None
    assert (got.sender, got.origin, got.broadcast) == ("system", "system", False)
    assert HELPER_EVENT.validate_json(got.body) == event
    await broker.send("alice", "manager", got.body)
    copied = await broker.recv("manager", 0)
    assert copied is not None
    assert (copied.sender, copied.origin) == ("alice", "peer")


async def test_a_helper_event_is_told_if_and_only_if_its_transaction_is_committed(db: Database) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        notify(connection, "manager", Killed(agent="bob"), 7, "k")
        raise BadInput("no")

    with pytest.raises(BadInput):
        await db.write(fails)
    assert await stored(db) == 0
    assert await db.write(partial(notify, recipient="manager", event=Killed(agent="bob"), at=7, key="k")) is not None


async def test_a_notice_wakes_a_waiting_receiver(db: Database, broker: Broker) -> None:
    receiver = asyncio.create_task(broker.recv("manager", 3600))
    await broker.unread("manager")
    async with asyncio.timeout(10):
        await db.write(partial(post, sender="reminder", recipient="manager", body="now", at=7))
        broker.wake_receivers("manager")
        got = await receiver
    assert got is not None
    assert (got.sender, got.body) == ("reminder", "now")


async def test_helper_events_are_not_refused_by_a_full_inbox_and_are_bounded(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "NOTICES_KEPT", 3)
    broker = broker_on(db, inbox_limit=0)
    for number in range(5):
        await db.write(partial(notify, recipient="manager", event=Killed(agent=f"a{number}"), at=7))
    assert [json.loads(body)["agent"] for body in await bodies(broker, "manager")] == ["a2", "a3", "a4"]
