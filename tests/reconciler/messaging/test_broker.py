"""The broker: an accepted message is kept, handed out to one receiver at a time, until it is acked."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from meta.errors import BadInput, TransientError
from reconciler.messaging.broker import Broker, InboxMessage, Quota
from reconciler.store.database import Database
from tests.support.broker import AGENTS, bodies, broker_on


async def test_a_message_is_handed_out_once_with_its_sender(broker: Broker) -> None:
    id = await broker.send("manager", "alice", "hello")
    delivery = await broker.recv("alice", 0)
    assert delivery is not None
    assert (delivery.id, delivery.sender, delivery.body, delivery.redelivered) == (id, "manager", "hello", False)
    assert await broker.recv("alice", 0) is None


async def test_an_inbox_is_read_in_the_order_in_which_it_was_written(broker: Broker) -> None:
    for number in range(10):
        await broker.send("manager" if number % 2 else "bob", "alice", str(number))
        await broker.send("manager", "bob", "other")
    assert await bodies(broker, "alice") == [str(number) for number in range(10)]


@pytest.mark.parametrize("name", ["carol", "", "system", "reminder", "Alice", "manager "])
async def test_an_unknown_recipient_is_refused_and_gets_no_inbox(db: Database, broker: Broker, name: str) -> None:
    with pytest.raises(BadInput, match="no agent") as caught:
        await broker.send("alice", name, "hello?")
    assert caught.value.hint
    assert await db.read(lambda connection: connection.execute("SELECT count(*) FROM messages").fetchone()[0]) == 0


async def test_the_manager_and_the_operator_can_always_be_reached(db: Database) -> None:
    nobody = Broker(db, lambda name: False)
    await nobody.send("alice", "manager", "a")
    await nobody.send("alice", "operator", "b")
    assert await nobody.unread_all() == {"manager": 1, "operator": 1}


async def test_a_body_over_the_limit_or_that_is_no_text_is_refused(broker: Broker) -> None:
    await broker.send("alice", "bob", "x" * 100)
    for body in ("x" * 101, "é" * 51):
        with pytest.raises(BadInput, match="limit is 100"):
            await broker.send("alice", "bob", body)
    with pytest.raises(BadInput, match="surrogate"):
        await broker.send("alice", "bob", "\ud800")
    assert await broker.unread("bob") == 1


@pytest.mark.parametrize("body", ["", "a\0b", "línea\n\r\n", "'; DROP TABLE messages; --", "🐝"])
async def test_a_body_arrives_as_it_was_sent(broker: Broker, body: str) -> None:
    await broker.send("alice", "bob", body)
    assert await bodies(broker, "bob") == [body]


async def test_a_full_inbox_holds_senders_back_until_something_was_read(db: Database) -> None:
    broker = broker_on(db, inbox_limit=2)
    await broker.send("alice", "bob", "1")
    await broker.send("alice", "bob", "2")
    with pytest.raises(TransientError, match="inbox of bob is full") as caught:
        await broker.send("alice", "bob", "3")
    assert "bob" in caught.value.hint
    await broker.recv("bob", 0)
    await broker.send("alice", "bob", "3")


async def test_the_operators_inbox_is_full_until_the_operator_has_read_some(db: Database) -> None:
    broker = broker_on(db, inbox_limit=2)
    ids = [await broker.send("alice", "operator", str(number)) for number in range(2)]
    with pytest.raises(TransientError, match="inbox of operator is full"):
        await broker.send("alice", "operator", "3")
    await broker.mark_read(ids[0])
    await broker.send("alice", "operator", "3")


async def test_what_is_not_acked_counts_in_bytes_whether_it_was_handed_out_or_not(db: Database) -> None:
    broker = Broker(db, AGENTS.__contains__, quota=Quota(size=10_000))
    await broker.send("alice", "bob", "é" * 2_000)
    await broker.send("bob", "bob", "x" * 4_000)
    await broker.recv("bob", 0)
    with pytest.raises(TransientError, match="inbox of bob is full"):
        await broker.send("alice", "bob", "x" * 2_001)
    await broker.send("alice", "bob", "x" * 2_000)
    await broker.send("bob", "alice", "x" * 10_000)
    await broker.ack_turn("bob")
    await broker.send("alice", "bob", "x" * 4_000)


async def test_empty_messages_that_are_taken_and_never_acked_have_a_bound_too(db: Database) -> None:
    broker = Broker(db, AGENTS.__contains__, quota=Quota(size=5 * 1024))
    await broker.ack_turn("bob")
    for _ in range(5):
        await broker.send("bob", "bob", "")
        await broker.recv("bob", 0)
    with pytest.raises(TransientError, match="is full"):
        await broker.send("bob", "bob", "")


async def test_of_what_is_done_the_newest_is_kept_in_number_and_in_bytes(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.store.messages.rows.DONE_KEPT", 3)
    broker = Broker(db, AGENTS.__contains__, quota=Quota(size=8 * 1024))
    other = await broker.send("alice", "alice", "other")
    ids = []
    for number in range(5):
        ids.append(await broker.send("alice", "bob", str(number)))
        await broker.recv("bob", 0)
        assert await broker.ack_turn("bob") == 1
    waiting = await broker.send("alice", "bob", "waits")
    await broker.ack_turn("bob")
    assert [row.id for row in await broker.recent("bob", 100)] == [waiting, *ids[:1:-1]]
    assert [row.id for row in await broker.recent("alice", 100)] == [other]
    await broker.recv("bob", 0)
    large = await broker.send("alice", "bob", "x" * 7 * 1024)
    await broker.recv("bob", 0)
    assert await broker.ack_turn("bob") == 2
    assert [row.id for row in await broker.recent("bob", 100)] == [large, waiting]


async def test_recent_has_a_bound_in_bytes_and_gives_the_newest(db: Database) -> None:
    broker = Broker(db, AGENTS.__contains__)
    ids = [await broker.send("bob", "alice", "é" * 200_000) for _ in range(4)]
    assert [row.id for row in await broker.recent("alice", 100)] == ids[:1:-1]
    newest = await broker.send("bob", "alice", "x" * 2**20)
    assert [row.id for row in await broker.recent("alice", 100)] == [newest]


async def test_a_full_inbox_stays_at_its_limit_when_many_send_at_once(db: Database) -> None:
    broker = broker_on(db, inbox_limit=7)
    sends = (broker.send("alice", "bob", str(number)) for number in range(30))
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 7 == await broker.unread("bob")


async def test_a_waiting_receiver_is_woken_at_once(broker: Broker) -> None:
    receiver = asyncio.create_task(broker.recv("alice", 3600))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await broker.send("bob", "alice", "wake up")
        delivery = await receiver
    assert delivery is not None
    assert delivery.body == "wake up"


@pytest.mark.looptime
async def test_recv_comes_back_empty_after_its_time(broker: Broker) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await broker.recv("alice", 30) is None
    assert 29 < loop.time() - began < 40


async def test_two_receivers_never_get_the_same_message(broker: Broker) -> None:
    receivers = [asyncio.create_task(broker.recv("alice", 3600)) for _ in range(8)]
    async with asyncio.timeout(10):
        await asyncio.gather(*(broker.send("bob", "alice", str(number)) for number in range(8)))
        got = [delivery.body for delivery in await asyncio.gather(*receivers) if delivery]
    assert sorted(got) == sorted(str(number) for number in range(8))


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_recv_loses_nothing_and_keeps_the_order(broker: Broker, turns: int) -> None:
    """Cancelled after so many turns of the loop, i.e. before, while and after the message is taken."""
    await broker.send("bob", "alice", "1")
    await broker.send("bob", "alice", "2")
    receiver = asyncio.create_task(broker.recv("alice", 3600))
    for _ in range(turns):
        await asyncio.sleep(0)
    receiver.cancel()
    [taken] = await asyncio.gather(receiver, return_exceptions=True)
    async with asyncio.timeout(10):
        first = await broker.recv("alice", 0)
    assert first is not None
    if isinstance(taken, asyncio.CancelledError):
        assert (first.body, first.redelivered) == ("1", False)
    else:
        assert first.body == "2"


async def test_a_cancelled_waiting_receiver_leaves_the_message_to_the_next(broker: Broker) -> None:
    first = asyncio.create_task(broker.recv("alice", 3600))
    second = asyncio.create_task(broker.recv("alice", 3600))
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(10):
        await broker.send("bob", "alice", "hello")
        delivery = await second
    assert delivery is not None


async def test_an_ack_is_for_exactly_what_was_handed_out_since_the_last_one(broker: Broker) -> None:
    for number in range(4):
        await broker.send("bob", "alice", str(number))
    await broker.recv("alice", 0)
    await broker.recv("alice", 0)
    assert await broker.ack_turn("alice") == 2
    assert await broker.ack_turn("alice") == 0
    await broker.recv("alice", 0)
    assert await broker.ack_turn("alice") == 1
    assert await broker.requeue_inflight("alice") == 0
    assert await bodies(broker, "alice") == ["3"]


async def test_what_was_not_acked_comes_again_in_its_old_place_marked_as_such(broker: Broker) -> None:
    for number in range(3):
        await broker.send("bob", "alice", str(number))
    await broker.recv("alice", 0)
    await broker.recv("alice", 0)
    assert await broker.requeue_inflight("alice") == 2
    assert await broker.requeue_inflight("alice") == 0
    assert await broker.ack_turn("alice") == 0
    seen = [await broker.recv("alice", 0) for _ in range(3)]
    assert [(each.body, each.redelivered) for each in seen if each] == [("0", True), ("1", True), ("2", False)]


async def test_a_requeue_wakes_a_waiting_receiver(broker: Broker) -> None:
    await broker.send("bob", "alice", "again")
    await broker.recv("alice", 0)
    receiver = asyncio.create_task(broker.recv("alice", 3600))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await broker.requeue_inflight("alice")
        delivery = await receiver
    assert delivery is not None
    assert delivery.redelivered


async def test_unread_counts_what_was_not_handed_out(broker: Broker) -> None:
    for number in range(3):
        await broker.send("bob", "alice", str(number))
    await broker.recv("alice", 0)
    assert await broker.unread("alice") == 2
    assert await broker.unread("bob") == 0
    assert await broker.unread_all() == {"alice": 2}


async def test_recent_is_newest_first_and_changes_nothing(broker: Broker) -> None:
    ids = [await broker.send("bob", "alice", str(number)) for number in range(4)]
    await broker.recv("alice", 0)
    assert await broker.recent("alice", 2) == [
        InboxMessage(ids[3], "bob", "3", 1234),
        InboxMessage(ids[2], "bob", "2", 1234),
    ]
    assert [row.id for row in await broker.recent("alice", 100)] == ids[::-1]
    assert await broker.recent("alice", 0) == []
    assert await broker.unread("alice") == 3


async def test_the_operator_reads_without_recv(broker: Broker) -> None:
    first = await broker.send("alice", "operator", "one")
    await broker.send("alice", "operator", "two")
    with pytest.raises(BadInput, match="no recv"):
        await broker.recv("operator", 0)
    assert await broker.mark_read(first) == 1
    assert await broker.unread("operator") == 1
    assert len(await broker.recent("operator", 10)) == 2


async def test_an_interrupt_and_a_close_end_a_waiting_recv_empty(db: Database) -> None:
    broker = broker_on(db)
    alice, bob = (asyncio.create_task(broker.recv(name, 3600)) for name in ("alice", "bob"))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        broker.interrupt("alice")
        assert await alice is None
        assert not bob.done()
        await broker.close()
        assert await bob is None
    assert await broker.recv("alice", 3600) is None


async def test_a_forgotten_inbox_is_empty_and_the_others_are_not(broker: Broker) -> None:
    for name in ("alice", "bob"):
        await broker.send("manager", name, "hello")
    await broker.forget("alice")
    assert await broker.recent("alice", 10) == []
    assert await broker.unread_all() == {"bob": 1}


async def test_who_took_a_message_how_often_and_when_is_on_record(db: Database, broker: Broker) -> None:
    def row(connection: sqlite3.Connection) -> tuple[object, ...]:
        query = "SELECT delivered_at, acked_at, attempts, incarnation FROM messages"
        return tuple(connection.execute(query).fetchone())

    await broker.send("bob", "alice", "hello")
    assert await db.read(row) == (None, None, 0, None)
    await broker.recv("alice", 0, incarnation="boot-1")
    await broker.requeue_inflight("alice")
    await broker.recv("alice", 0, incarnation="boot-2")
    assert await db.read(row) == (1234, None, 2, "boot-2")
    await broker.ack_turn("alice")
    assert await db.read(row) == (1234, 1234, 2, "boot-2")


DAEMON = """
import asyncio, signal, sys
from pathlib import Path
from reconciler.store.database import Database
from reconciler.messaging.broker import Broker

async def main():
    broker = Broker(await Database.open(Path(sys.argv[1])), lambda name: True)
    for number in range(5):
        await broker.send("bob", "alice", str(number))
    await broker.recv("alice", 0)
    await broker.ack_turn("alice")
    await broker.recv("alice", 0)
    await broker.recv("alice", 0)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_after_a_kill_of_the_daemon_an_ack_is_for_exactly_what_it_had_handed_out(tmp_path: Path) -> None:
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, str(tmp_path / "hive.db"), stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert daemon.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await daemon.stdout.readline() == b"ready\n"
    finally:
        daemon.send_signal(signal.SIGKILL)
        await daemon.communicate()
    async with await Database.open(tmp_path / "hive.db") as db:
        broker = broker_on(db)
        assert await broker.unread("alice") == 2
        assert await broker.ack_turn("alice") == 2
        assert await broker.requeue_inflight("alice") == 0
        assert await bodies(broker, "alice") == ["3", "4"]
