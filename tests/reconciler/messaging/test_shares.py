"""The broker: no sender shuts out another, nor pushes out what hive itself has to tell."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import pytest

from meta.errors import BadInput, TransientError
from meta.names import OPERATOR
from meta.wire.common import ApprovalStatus
from meta.wire.events import ApprovalResolved, HelperEvent, NeedsLogin, QuestionAsked, Rebuilt
from reconciler.common.token_bucket import EVENTS_AT_ONCE
from reconciler.messaging.broker import Broker, Quota
from reconciler.store import notices, schema
from reconciler.store.database import Database
from reconciler.store.events import log
from reconciler.store.notices import notify
from tests.support.broker import AGENTS, bodies, broker_on

MIB = 2**20


async def fill(broker: Broker, sender: str, to: str, body: str = "x") -> int:
    """Until it is refused; how many were taken."""
    count = 0
    while True:
        try:
            await broker.send(sender, to, body)
        except TransientError as error:
            assert f"inbox of {to} is full" in error.summary
            return count
        count += 1


async def events(db: Database, kind: str) -> list[log.EventRow]:
    rows = await db.read(partial(log.after, n=0, limit=100_000))
    return [row for row in rows if row.kind == kind]


# shares
@pytest.mark.parametrize("to", ["bob", "alice"])
async def test_one_sender_fills_a_quarter_of_an_inbox_also_of_its_own(db: Database, to: str) -> None:
    broker = broker_on(db, inbox_limit=200)
    assert await fill(broker, "alice", to) == 50
    assert await fill(broker, "manager", to) == 50
    await bodies(broker, to)
    await broker.ack_turn(to)
    await broker.send("alice", to, "again")


async def test_the_last_of_an_inbox_is_the_operators(db: Database) -> None:
    broker = Broker(db, lambda name: True, quota=Quota(waiting=80))
    for number in range(10):
        await fill(broker, f"a{number}", "bob")
    assert await broker.unread("bob") == 70
    assert await fill(broker, OPERATOR, "bob") == 10


async def test_one_sender_fills_a_quarter_of_an_inbox_in_bytes(db: Database) -> None:
    broker = Broker(db, AGENTS.__contains__, quota=Quota(size=16 * MIB))
    assert await fill(broker, "alice", "bob", "x" * MIB) == 4
    assert await fill(broker, "alice", "bob") == 0
    assert await fill(broker, "bob", "bob", "x" * MIB) == 4
    assert await fill(broker, "manager", "bob", "x" * MIB) == 4
    assert await fill(broker, "carol", "bob", "x" * MIB) == 2
    assert await fill(broker, OPERATOR, "bob", "x" * MIB) == 2


async def test_whatever_a_container_calls_itself_has_one_share(db: Database) -> None:
    broker = broker_on(db, inbox_limit=200)
    with pytest.raises(TransientError):
        for number in range(100):
            await broker.wake("bob", f"label-{number}", "x")
    assert await broker.unread("bob") == 50
    await broker.send("alice", "bob", "still")


# broadcasts
async def test_a_broadcast_reaches_those_who_have_room_and_an_event_names_the_others(db: Database) -> None:
    broker = broker_on(db, inbox_limit=1)
    await broker.send("alice", "manager", "fills it")
    first = await broker.send("alice", "*", "to all", key="k")
    assert await bodies(broker, "bob") == ["[broadcast] to all"]
    assert await bodies(broker, "manager") == ["fills it"]
    assert await broker.send("alice", "*", "to all", key="k") == first
    [missed] = await events(db, "broadcast_missed")
    assert (missed.agent, missed.data) == ("alice", {"id": first, "missed": ["manager"], "count": 1})


async def test_a_broadcast_beyond_what_its_sender_may_bring_about_arrives_without_an_event(db: Database) -> None:
    broker = broker_on(db, inbox_limit=1)
    await broker.send("alice", "manager", "fills it")
    broker.allowance.note("alice", EVENTS_AT_ONCE - 1)
    for _ in range(2):
        await broker.send("alice", "*", "to all")
        await bodies(broker, "bob")
    assert len(await events(db, "broadcast_missed")) == 1


async def test_a_broadcast_that_reaches_nobody_is_refused(db: Database) -> None:
    broker = broker_on(db, inbox_limit=0)
    with pytest.raises(TransientError, match="inbox of alice, bob, manager is full"):
        await broker.send("operator", "*", "to all")
    assert await events(db, "broadcast_missed") == []


async def test_nobody_stops_the_operators_broadcast_with_a_full_inbox(db: Database) -> None:
    broker = broker_on(db, inbox_limit=200)
    for sender in (*AGENTS, "a1", "a2"):
        await fill(broker, sender, "bob")
    await broker.send("operator", "*", "important")
    assert (await bodies(broker, "bob"))[-1] == "[broadcast] important"
    assert await events(db, "broadcast_missed") == []


# events
async def test_an_agent_that_floods_the_operator_is_held_back_before_its_events_push_others_out(db: Database) -> None:
    broker = Broker(db, AGENTS.__contains__)
    for _ in range(EVENTS_AT_ONCE):
        await broker.send("alice", "operator", "look!")
    with pytest.raises(TransientError, match="too fast"):
        await broker.send("alice", "operator", "look!")
    await broker.send("alice", "bob", "peers have no such limit")
    await broker.send("bob", "operator", "I am calm")


async def test_dead_letters_beyond_what_an_agent_may_bring_about_are_listed_but_no_events(db: Database) -> None:
    broker = broker_on(db)
    broker.allowance.note("bob", EVENTS_AT_ONCE - 2)
    for number in range(5):
        await broker.send("alice", "bob", str(number))
    for _ in range(5):
        await bodies(broker, "bob")
        await broker.requeue_inflight("bob")
    assert len(await broker.dead_letters()) == 5
    assert len(await events(db, "message_dead")) == 2


# notices
async def tell(db: Database, event: HelperEvent, key: str | None = None) -> None:
    await db.write(partial(notify, recipient="manager", event=event, at=7, key=key))


APPROVED = ApprovalResolved(id=7, agent="bob", commit_ref="", status=ApprovalStatus.APPROVED, tag="deployed/7")


async def test_what_floods_an_inbox_of_hives_own_messages_goes_first_and_approvals_last(
    db: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "NOTICES_KEPT", 10)
    await tell(db, APPROVED)
    await tell(db, Rebuilt(agent="bob", ok=True))
    for _ in range(50):
        await tell(db, NeedsLogin(agent="alice"))
    await tell(db, NeedsLogin(agent="bob"))
    told = await bodies(broker, "manager")
    assert len(told) == 10
    assert '"approval_resolved"' in told[0]
    assert '"rebuilt"' in told[1]
    assert '"bob"' in told[-1]


async def test_approvals_too_are_bounded(db: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "NOTICES_KEPT", 3)
    for _ in range(5):
        await tell(db, APPROVED)
    assert len(await bodies(broker, "manager")) == 3


async def test_what_is_large_goes_first_where_bytes_are_short(
    db: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "NOTICES_BYTES", 20 * 1024)
    for _ in range(5):
        await tell(db, Rebuilt(agent="bob", ok=True))
    for number in range(3):
        await tell(db, QuestionAsked(id=number, asker="alice", question="x" * 8_000))
    told = await bodies(broker, "manager")
    assert ['"rebuilt"' in each for each in told] == [True] * 5 + [False]


async def test_hives_own_keys_go_with_their_events(db: Database, broker: Broker) -> None:
    def keys(connection: sqlite3.Connection) -> list[str]:
        return [row[0] for row in connection.execute("SELECT key FROM message_keys ORDER BY at, key")]

    for _ in range(12):
        await db.write(partial(log.append, at=1.0, kind="daemon_started", agent=None, data={}))
    for n in (9, 10, 12):
        await tell(db, NeedsLogin(agent="alice"), f"event:{n}:needs_login")
    await db.write(partial(log.prune, keep=3))
    await broker.clean(10.0)
    assert await db.read(keys) == ["event:10:needs_login", "event:12:needs_login"]


# names and marks
LIKE_OTHERS = ["operator.", "0perat0r", "the-operator", "OPERATOR_", "s.ystem", "mana-ger"]
NOT_PLAIN = ["\u03bfperator", "a]b", "a b", "a:b", "wake:x", "é", "x" * 41]


@pytest.mark.parametrize("label", LIKE_OTHERS + NOT_PLAIN)
async def test_a_wake_is_from_a_plain_name_that_nobody_takes_for_another(broker: Broker, label: str) -> None:
    with pytest.raises(BadInput, match="wake"):
        await broker.wake("alice", label, "ping")


@pytest.mark.parametrize("body", ["[broadcast] x", " \n[Broadcast]x", "[broadcast]"])
async def test_nobody_but_the_operator_writes_to_one_as_if_it_were_to_all(broker: Broker, body: str) -> None:
    for sending in (
        broker.send("alice", "bob", body),
        broker.wake("bob", "x", body),
        broker.operator_msg("bob", body, verified=False),
    ):
        with pytest.raises(BadInput, match="to one recipient cannot begin with"):
            await sending
    await broker.send("operator", "bob", body)
    await broker.send("alice", "*", body)
    assert await bodies(broker, "bob") == [body, f"[broadcast] {body}"]


# receivers
async def test_a_receiver_that_acked_with_an_older_hive_is_never_acked_for(tmp_path: Path) -> None:
    path = tmp_path / "hive.db"
    old = sqlite3.connect(path)
    schema.migrate(old, upto=7)
    rows = [(f"m{number}", 2 if number <= 120 else None, 3 if number == 0 else None) for number in range(150)]
    old.executemany(
        "INSERT INTO messages (sender, recipient, body, at, size, delivered_at, acked_at) "
        "VALUES ('bob', 'alice', ?, 1, 1024, ?, ?)",
        rows,
    )
    old.commit()
    old.close()
    async with await Database.open(path) as db:
        broker = broker_on(db)
        await broker.recv("alice", 0)
        assert await broker.requeue_inflight("alice") == 121


async def test_a_harness_that_said_hello_is_never_acked_for_even_by_a_later_daemon(db: Database) -> None:
    await broker_on(db).expect_acks("bob")
    broker = broker_on(db)
    for number in range(150):
        await broker.send("alice", "bob", str(number))
    await bodies(broker, "bob")
    assert await broker.requeue_inflight("bob") == 150
