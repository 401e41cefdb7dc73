"""The broker: between the database and a receiver's connection nothing is lost, doubled or acked unseen."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import pytest

from meta.errors import TransientError
from reconciler.messaging.broker import Broker
from reconciler.store.database import Database
from tests.support.broker import bodies, broker_on

T = TypeVar("T")


async def waiting(broker: Broker, agent: str = "alice") -> asyncio.Task[str | None]:
    """A receiver that has looked, found nothing, and waits."""

    async def body() -> str | None:
        got = await broker.recv(agent, 3600)
        return got.body if got else None

    inboxes = broker._receivers._inboxes  # nothing outside shows who waits
    before = len(inboxes[agent].waiters) if agent in inboxes else 0
    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    while len(inboxes[agent].waiters) == before:
        await broker.unread(agent)
    return task


async def test_an_ack_is_not_for_a_message_that_is_not_written_to_its_receiver_yet(broker: Broker) -> None:
    await broker.send("bob", "alice", "seen")
    await broker.send("bob", "alice", "on its way")
    await broker.recv("alice", 0)
    held = await broker.recv("alice", 0, hold=True)
    assert held is not None
    assert await broker.ack_turn("alice") == 1
    assert await broker.requeue_inflight("alice") == 0
    broker.confirm("alice", held.id)
    assert await broker.ack_turn("alice") == 1


async def test_an_ack_that_comes_while_a_message_is_being_taken_is_not_for_it(broker: Broker) -> None:
    """The ack waits in the same batch behind the hand-out; its sender cannot know of the message."""
    await broker.send("bob", "alice", "on its way")
    got, acked = await asyncio.gather(broker.recv("alice", 0), broker.ack_turn("alice"))
    assert got is not None
    assert acked == 0
    assert await broker.ack_turn("alice") == 1


async def test_an_ack_is_not_for_what_a_send_hands_over_at_the_same_time(broker: Broker) -> None:
    receiver = await waiting(broker)
    _, acked = await asyncio.gather(broker.send("bob", "alice", "on its way"), broker.ack_turn("alice"))
    assert acked == 0
    async with asyncio.timeout(10):
        assert await receiver == "on its way"
    assert await broker.ack_turn("alice") == 1


async def test_what_could_not_be_written_waits_again_in_its_place_marked_as_redelivered(broker: Broker) -> None:
    await broker.send("bob", "alice", "1")
    await broker.send("bob", "alice", "2")
    held = await broker.recv("alice", 0, hold=True)
    assert held is not None
    await broker.release("alice", held.id)
    got = [await broker.recv("alice", 0) for _ in range(2)]
    assert [(each.body, each.redelivered) for each in got if each] == [("1", True), ("2", False)]
    assert await broker.ack_turn("alice") == 2


async def test_a_wake_up_costs_one_commit_not_two(
    db: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = await waiting(broker)
    changes: list[None] = []
    end = db.on_change(lambda: changes.append(None))
    async with asyncio.timeout(10):
        await broker.send("bob", "alice", "hello")
        assert await receiver == "hello"
    end()
    assert len(changes) == 1


async def test_what_is_handed_over_is_the_oldest_that_waits(broker: Broker) -> None:
    receivers = [await waiting(broker) for _ in range(3)]
    async with asyncio.timeout(10):
        await asyncio.gather(*(broker.send("bob", "alice", str(number)) for number in range(5)))
        assert [await receiver for receiver in receivers] == ["0", "1", "2"]
    assert await bodies(broker, "alice") == ["3", "4"]


@pytest.mark.parametrize("turns", range(12))
async def test_a_sender_that_leaves_in_the_middle_takes_no_message_from_a_receiver(broker: Broker, turns: int) -> None:
    receiver = await waiting(broker)
    sender = asyncio.create_task(broker.send("bob", "alice", "perhaps"))
    for _ in range(turns):
        await asyncio.sleep(0)
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    async with asyncio.timeout(10):
        await broker.send("bob", "alice", "certainly")
        got = [await receiver, *await bodies(broker, "alice")]
    assert got in (["perhaps", "certainly"], ["certainly"])


@pytest.mark.parametrize("turns", range(12))
async def test_a_receiver_that_leaves_while_it_is_handed_a_message_gives_it_back(broker: Broker, turns: int) -> None:
    receiver = await waiting(broker)
    sender = asyncio.create_task(broker.send("bob", "alice", "hello"))
    for _ in range(turns):
        await asyncio.sleep(0)
    receiver.cancel()
    (taken,) = await asyncio.gather(receiver, return_exceptions=True)
    async with asyncio.timeout(10):
        await sender
        again = await broker.recv("alice", 0)
    if isinstance(taken, asyncio.CancelledError):
        assert again is not None
        assert (again.body, again.redelivered) == ("hello", False)
        assert await broker.ack_turn("alice") == 1
    else:
        assert (taken, again) == ("hello", None)


async def test_a_failed_send_leaves_a_waiting_receiver_waiting(db: Database) -> None:
    broker = broker_on(db, inbox_limit=0)
    receiver = await waiting(broker)
    with pytest.raises(TransientError):
        await broker.send("bob", "alice", "no")
    await broker.unread("alice")
    assert not receiver.done()
    await broker.close()
    async with asyncio.timeout(10):
        assert await receiver is None


async def test_a_full_disk_while_a_message_is_handed_over_loses_neither_the_receiver_nor_a_message(
    db: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = await waiting(broker)
    real = db.submit

    def full(work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        monkeypatch.setattr(db, "submit", real)
        failed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        failed.set_exception(error)
        return failed

    monkeypatch.setattr(db, "submit", full)
    with pytest.raises(TransientError, match="disk is full"):
        await broker.send("bob", "alice", "lost, and the sender knows")
    async with asyncio.timeout(10):
        await broker.send("bob", "alice", "kept")
        assert await receiver == "kept"


async def test_after_a_close_every_message_on_its_way_is_back(db: Database) -> None:
    broker = broker_on(db)
    receiver = await waiting(broker)
    sender = asyncio.create_task(broker.send("bob", "alice", "hello"))
    await asyncio.sleep(0)
    receiver.cancel()
    await broker.close()
    await asyncio.gather(sender, receiver, return_exceptions=True)
    assert await bodies(broker_on(db), "alice") == ["hello"]
