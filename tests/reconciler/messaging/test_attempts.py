"""The broker: which ends of a turn count as an attempt, and which message is blamed."""

from __future__ import annotations

import asyncio

import pytest

from meta.errors import Conflict
from meta.wire.events import HELPER_EVENT, MessageDead
from reconciler.messaging.broker import Broker
from reconciler.store.database import Database
from reconciler.store.events import log
from reconciler.store.messages.attempts import FAILURES
from tests.support.broker import AGENTS, broker_on


async def take(broker: Broker, launch: str | None, agent: str = "bob") -> str | None:
    """A launch boots as a harness does, and takes one message."""
    await broker.requeue_inflight(agent, launch)
    return await more(broker, launch, agent)


async def more(broker: Broker, launch: str | None, agent: str = "bob") -> str | None:
    delivery = await broker.recv(agent, 0, launch)
    return None if delivery is None else delivery.body


async def send(broker: Broker, *texts: str) -> None:
    for text in texts:
        await broker.send("alice", "bob", text)


async def dead(broker: Broker) -> list[str]:
    return [letter.body for letter in await broker.dead_letters()]


async def test_a_message_with_which_the_agent_dies_three_times_is_a_dead_letter(db: Database, broker: Broker) -> None:
    await send(broker, "poison", "good")
    for number in range(FAILURES):
        assert await dead(broker) == []
        assert await take(broker, f"n{number}") == "poison"
        assert await broker.fail_turn("bob", f"n{number}") == (number == FAILURES - 1)
    assert await dead(broker) == ["poison"]
    assert await take(broker, "n9") == "good"
    (event,) = await db.read(lambda connection: log.after(connection, 0, 9))
    assert (event.kind, event.agent, event.data["failed"]) == ("message_dead", "bob", FAILURES)


async def test_a_death_is_counted_once_however_often_it_is_reported(broker: Broker) -> None:
    await send(broker, "poison")
    for number in range(FAILURES - 1):
        assert await take(broker, f"n{number}") == "poison"
        for _ in range(5):
            assert await broker.fail_turn("bob", f"n{number}") == 0
    assert await dead(broker) == []


async def test_a_stop_a_deploy_or_a_reboot_in_mid_turn_counts_nothing(broker: Broker) -> None:
    await send(broker, "long work")
    for number in range(20):
        assert await take(broker, f"n{number}") == "long work"
    assert await dead(broker) == []


async def test_a_death_between_turns_blames_no_message(broker: Broker) -> None:
    await send(broker, "done", "waits")
    assert await take(broker, "n1") == "done"
    await broker.ack_turn("bob")
    assert await broker.fail_turn("bob", "n1") == 0
    for number in range(2, 2 + FAILURES - 1):
        assert await take(broker, f"n{number}") == "waits"
        await broker.fail_turn("bob", f"n{number}")
    assert await dead(broker) == []


async def test_a_launch_that_gives_its_message_back_three_times_had_failed_turns(broker: Broker) -> None:
    """A CLI that dies in mid-turn, or a turn over its time, while the harness lives on."""
    await send(broker, "poison")
    for _ in range(FAILURES):
        assert await take(broker, "n1") == "poison"
    assert await take(broker, "n1") is None
    assert await dead(broker) == ["poison"]


async def test_what_an_earlier_daemon_delivered_is_given_back_without_a_count(db: Database) -> None:
    """Its answer may have been lost with that daemon."""
    for _ in range(8):
        broker = broker_on(db, since=1234)
        if not await broker.unread("bob"):
            await send(broker, "innocent")
        await take(broker, "n1")
        await broker.close()
    assert await dead(broker_on(db)) == []


async def test_of_several_messages_in_one_turn_only_the_guilty_one_dies(broker: Broker) -> None:
    await send(broker, "first", "poison", "third")
    assert [await take(broker, "n1"), await more(broker, "n1"), await more(broker, "n1")] == [
        "first",
        "poison",
        "third",
    ]
    await broker.fail_turn("bob", "n1")
    turns, launch = [], 2
    while (body := await take(broker, f"n{launch}")) is not None:
        assert await more(broker, f"n{launch}") is None, "each is delivered alone"
        turns.append(body)
        if body == "poison":
            await broker.fail_turn("bob", f"n{launch}")
            launch += 1
        else:
            await broker.ack_turn("bob")
    assert turns == ["first", "poison", "poison", "third"]
    assert await dead(broker) == ["poison"]


async def test_a_waiting_receiver_gets_what_is_delivered_alone_after_the_ack(broker: Broker) -> None:
    await send(broker, "first", "second")
    await take(broker, "n1")
    await more(broker, "n1")
    await broker.fail_turn("bob", "n1")
    assert await take(broker, "n2") == "first"
    waiting = asyncio.create_task(broker.recv("bob", 3600, "n2"))
    await broker.unread("bob")
    assert not waiting.done()
    await broker.ack_turn("bob")
    async with asyncio.timeout(10):
        got = await waiting
    assert got is not None
    assert got.body == "second"


async def test_a_receiver_that_never_acks_is_not_blocked_by_a_death(broker: Broker) -> None:
    await send(broker, "one", "two", "three")
    assert await more(broker, None) == "one"
    assert await broker.fail_turn("bob", "n1") == 0
    assert [await more(broker, None), await more(broker, None)] == ["two", "three"]


async def test_a_death_of_one_agent_leaves_the_messages_of_others_alone(broker: Broker) -> None:
    await send(broker, "to bob")
    await take(broker, "n1")
    for agent in AGENTS:
        await broker.fail_turn(agent, "n2")
    await broker.ack_turn("bob")
    assert await broker.unread("bob") == 0


async def test_with_a_lower_crash_limit_a_message_dies_sooner(db: Database) -> None:
    broker = broker_on(db, failures=1)
    await send(broker, "poison")
    assert await take(broker, "n1") == "poison"
    assert await broker.fail_turn("bob", "n1") == 1
    await broker.close()


async def test_a_revived_dead_letter_is_delivered_alone_and_has_two_more_turns(broker: Broker) -> None:
    await send(broker, "poison", "good")
    for number in range(FAILURES):
        await take(broker, f"n{number}")
        await broker.fail_turn("bob", f"n{number}")
    (letter,) = await broker.dead_letters()
    await broker.revive(letter.id)
    for number in range(10, 12):
        assert await take(broker, f"n{number}") == "poison"
        assert await more(broker, f"n{number}") is None
        await broker.fail_turn("bob", f"n{number}")
    assert await dead(broker) == ["poison"]
    assert await take(broker, "n12") == "good"


async def test_what_waits_for_an_agent_whose_spawn_failed_is_a_dead_letter(db: Database, broker: Broker) -> None:
    await send(broker, "parked", "more")
    await broker.abandon("bob", "its spawn failed")
    await broker.abandon("bob", "its spawn failed")
    assert await dead(broker) == ["more", "parked"]
    assert await broker.recv("bob", 0, "n1") is None
    events = await db.read(lambda connection: log.after(connection, 0, 9))
    assert [(event.kind, event.data["from"], event.data["reason"]) for event in events] == [
        ("message_dead", "alice", "its spawn failed")
    ] * 2


async def test_what_a_launch_releases_counts_no_failed_turn_however_often(broker: Broker) -> None:
    await send(broker, "during an outage")
    for _ in range(3 * FAILURES):
        assert await more(broker, "n1") == "during an outage"
        assert await broker.release_turn("bob", "n1") == 1
    assert await dead(broker) == []
    assert await broker.unread("bob") == 1


async def test_what_another_launch_has_in_flight_is_not_released(broker: Broker) -> None:
    await send(broker, "in flight")
    assert await more(broker, "n1") == "in flight"
    assert await broker.release_turn("bob", "n0") == 0
    assert await broker.unread("bob") == 0


async def test_a_message_that_is_released_by_its_id_leaves_the_others_in_flight(broker: Broker) -> None:
    await send(broker, "at fault", "done")
    suspect = await broker.recv("bob", 0, "n1")
    assert suspect is not None
    assert await more(broker, "n1") == "done"
    assert await broker.release_turn("bob", "n1", [suspect.id, suspect.id + 100]) == 1
    assert await broker.ack_turn("bob") == 1
    assert await more(broker, "n1") == "at fault"
    assert await dead(broker) == []


async def test_a_message_that_another_launch_has_is_not_said_to_be_given_back(broker: Broker) -> None:
    await send(broker, "in flight")
    delivery = await broker.recv("bob", 0, "n1")
    assert delivery is not None
    with pytest.raises(Conflict, match="still in flight"):
        await broker.release_turn("bob", "n0", [delivery.id])
    assert await broker.release_turn("bob", "n1", [delivery.id]) == 1
    assert await broker.release_turn("bob", "n1", [delivery.id]) == 0


async def test_a_message_with_a_failed_turn_that_is_released_by_its_id_comes_after_another_one(broker: Broker) -> None:
    await send(broker, "failed", "second", "third")
    suspect = await broker.recv("bob", 0, "n1")
    assert suspect is not None
    await broker.requeue_inflight("bob", "n1")
    assert await take(broker, "n1") == "failed"
    await broker.release_turn("bob", "n1", [suspect.id])
    assert await more(broker, "n1") == "second"
    await broker.ack_turn("bob")
    assert await more(broker, "n1") == "failed"
    await broker.ack_turn("bob")
    assert await more(broker, "n1") == "third"


async def test_a_failed_turn_stays_counted_when_a_later_one_is_released(broker: Broker) -> None:
    await send(broker, "poison")
    for _ in range(FAILURES):
        assert await take(broker, "n1") == "poison"
    await broker.release_turn("bob", "n1")
    assert await take(broker, "n1") == "poison"
    assert await take(broker, "n1") is None
    assert await dead(broker) == ["poison"]


async def test_the_sender_of_a_dead_letter_is_told_once_with_its_beginning(broker: Broker) -> None:
    id = await broker.send("alice", "bob", "poison " + "x" * 90)
    for number in range(FAILURES + 1):
        await take(broker, "n1")
        assert await broker.unread("alice") == (number == FAILURES)
    delivery = await broker.recv("alice", 0)
    assert delivery is not None
    assert delivery.sender == "system"
    event = HELPER_EVENT.validate_json(delivery.body)
    assert event == MessageDead(id=id, to="bob", body="poison " + "x" * 90, attempts=FAILURES)


async def test_of_a_dead_letter_of_the_operator_or_of_a_program_no_agent_is_told(broker: Broker) -> None:
    await broker.send("operator", "bob", "poison")
    await broker.wake("bob", "cron", "poison")
    for _ in range(3 * FAILURES):
        await take(broker, "n1")
    assert len(await dead(broker)) == 2
    assert await broker.unread_all() == {}
