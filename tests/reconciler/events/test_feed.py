"""The event sequence: numbering, the outbox key, resuming without a gap, and resync instead of a silent one."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from meta.errors import BadInput, HiveError
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.events.feed import EVENT_KINDS, Events, Resync
from reconciler.store.cards import Cards
from reconciler.store.database import Database
from reconciler.store.events import keys, log
from reconciler.views import Event

ALICE = AgentName("alice")
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "events.md"


@pytest.fixture
async def events(db: Database) -> AsyncIterator[Events]:
    service = Events(db, clock=lambda: 1000.5)
    yield service
    await service.close()


async def add(events: Events, first: int, count: int = 1) -> None:
    for number in range(first, first + count):
        await events.append("agent_healthy", ALICE, {"number": number})


async def take(stream: AsyncIterator[Event], count: int) -> list[object]:
    async with asyncio.timeout(10):
        return [(await anext(stream)).data["number"] for _ in range(count)]


async def test_events_are_numbered_from_one_with_the_uuid_of_the_database(db: Database, events: Events) -> None:
    assert await events.last() == f"{db.uuid}-0"
    event = await events.append("agent_healthy", ALICE, {"crashes": 2})
    assert event == Event(f"{db.uuid}-1", 1000.5, "agent_healthy", "alice", {"crashes": 2})
    assert await events.last() == f"{db.uuid}-1"
    assert await events.since(None) == [event]
    assert await events.since(event.seq) == []


async def test_the_sequence_goes_on_after_reopening(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with await Database.open(tmp_path / "hive.db") as db:
            event = await Events(db).append("daemon_started", None, {})
            assert event is not None
            seen.append(event.seq)
            assert seen == [f"{db.uuid}-{n}" for n in range(1, len(seen) + 1)]


async def test_a_second_append_with_the_same_key_is_nothing_and_leaves_no_gap(events: Events) -> None:
    assert await events.append("container_crash", ALICE, {}, key=keys.crashed(ALICE, "1")) is not None
    assert await events.append("container_crash", ALICE, {}, key=keys.crashed(ALICE, "1")) is None
    await events.append("container_crash", ALICE, {}, key=keys.crashed(ALICE, "2"))
    assert [event.seq.rpartition("-")[2] for event in await events.since(None)] == ["1", "2"]


async def test_an_unknown_kind_and_data_that_is_no_json_are_refused(events: Events) -> None:
    with pytest.raises(BadInput, match="agent_sneezed"):
        await events.append("agent_sneezed", ALICE, {})
    with pytest.raises(BadInput, match="not JSON"):
        await events.append("agent_healthy", ALICE, {"path": Path("x")})
    with pytest.raises(BadInput, match="not JSON"):
        await events.append("agent_healthy", ALICE, {"load": float("nan")})
    assert await events.since(None) == []


async def test_since_pages_through_everything(events: Events) -> None:
    await add(events, 1, 5)
    seq, seen = None, []
    while page := await events.since(seq, limit=2):
        seq = page[-1].seq
        seen += [event.data["number"] for event in page]
    assert seen == [1, 2, 3, 4, 5]


async def test_a_subscriber_gets_what_was_before_and_what_comes_without_a_gap(events: Events) -> None:
    await add(events, 1, 3)
    first = (await events.since(None))[0].seq
    async with events.subscribe(first) as stream:
        await add(events, 4)
        assert await take(stream, 3) == [2, 3, 4]
        await add(events, 5)
        assert await take(stream, 1) == [5]


async def test_a_subscriber_without_a_position_gets_only_what_comes(events: Events) -> None:
    await add(events, 1, 3)
    async with events.subscribe(None) as stream:
        await add(events, 4)
        assert await take(stream, 1) == [4]


async def test_no_event_is_missed_or_doubled_while_many_are_appended(events: Events) -> None:
    await add(events, 1, 20)

    async def follow() -> list[object]:
        async with events.subscribe((await events.since(None))[0].seq) as stream:
            return await take(stream, 119)

    followers = [asyncio.create_task(follow()) for _ in range(3)]
    for first in range(21, 121, 10):
        await asyncio.gather(*(add(events, number) for number in range(first, first + 10)))
        followers.append(asyncio.create_task(follow()))
    for seen in await asyncio.gather(*followers):
        assert sorted(map(str, seen)) == sorted(map(str, range(2, 121)))


async def test_a_backlog_of_several_pages_is_read_completely(db: Database, events: Events) -> None:
    def many(connection: sqlite3.Connection) -> None:
        for number in range(1, 1301):
            log.append(connection, 1.0, "agent_healthy", "alice", {"number": number})

    await db.write(many)
    async with events.subscribe(f"{db.uuid}-0") as stream:
        await add(events, 1301)
        assert await take(stream, 1301) == list(range(1, 1302))


async def test_a_cancelled_wait_for_the_next_event_loses_none(events: Events) -> None:
    async with events.subscribe(None) as stream:
        seen: list[object] = []
        for number in range(5):
            waiting = asyncio.ensure_future(take(stream, 1))
            await asyncio.sleep(0)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                seen += await waiting
            await add(events, number)
        assert seen + await take(stream, 5 - len(seen)) == [0, 1, 2, 3, 4]


async def test_an_event_of_another_transaction_reaches_the_subscriber(db: Database, events: Events) -> None:
    proposal = Deploy(
        agent=ALICE,
        id=ProposalId(1),
        kind=DeployKind.APPLY_COMMIT,
        state=TagState.PROPOSAL,
        sha=Sha("a" * 40),
        base=None,
        commit_ref="",
        source="",
        description="",
        requested_at=1,
        proposed_by="manager",
    )
    async with events.subscribe(None) as stream, asyncio.timeout(10):
        await Cards(db).project(ALICE, [proposal], "s1")
        event = await anext(stream)
    assert (event.kind, event.agent, event.data["id"]) == ("proposal_created", "alice", 1)


async def test_publish_has_handed_out_everything_when_it_returns(events: Events) -> None:
    async with events.subscribe(None) as stream:
        await add(events, 1, 3)
        await events.publish()
        assert await take(stream, 3) == [1, 2, 3]


async def test_a_subscriber_that_lags_too_far_gets_what_it_has_and_then_resync(db: Database) -> None:
    events = Events(db, queue_limit=3)
    async with events.subscribe(None) as slow, events.subscribe(None) as quick:
        for number in range(1, 6):
            await add(events, number)
            assert await take(quick, 1) == [number]
        assert await take(slow, 3) == [1, 2, 3]
        with pytest.raises(Resync, match="more than 3 events"):
            await anext(slow)
    await events.close()


async def test_a_position_that_cannot_be_served_is_answered_by_resync(db: Database, events: Events) -> None:
    await add(events, 1, 10)
    await db.write(lambda connection: log.prune(connection, keep=3))
    for seq in ("0" * 32 + "-1", "nonsense", "", f"{db.uuid}-11", f"{db.uuid}-x", f"{db.uuid}-6", f"{db.uuid}--1"):
        with pytest.raises(Resync) as caught:
            await events.since(seq)
        assert isinstance(caught.value, HiveError)
        assert caught.value.hint
        with pytest.raises(Resync):
            async with events.subscribe(seq):
                pass
    assert [event.data["number"] for event in await events.since(f"{db.uuid}-7")] == [8, 9, 10]
    assert [event.data["number"] for event in await events.since(None)] == [8, 9, 10]


async def test_numbers_are_never_used_again_after_pruning(db: Database, events: Events) -> None:
    await add(events, 1, 3)
    await db.write(lambda connection: log.prune(connection, keep=0))
    assert await events.last() == f"{db.uuid}-3"
    await add(events, 4)
    assert await events.last() == f"{db.uuid}-4"


async def test_old_events_are_pruned_by_and_by(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "KEEP", 100)

    def many(connection: sqlite3.Connection) -> log.Extent:
        for number in range(1000):
            log.append(connection, 1.0, "agent_healthy", "alice", {"number": number})
        return log.extent(connection)

    assert await db.write(many) == log.Extent(901, 1000)


async def test_an_event_that_does_not_decode_is_shown_as_such(
    db: Database, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    await add(events, 1, 3)
    await db.write(lambda connection: connection.execute("UPDATE events SET data = '{half' WHERE n = 2").rowcount)
    with caplog.at_level(logging.ERROR):
        assert [event.data for event in await events.since(None)] == [
            {"number": 1},
            {"undecodable": "{half"},
            {"number": 3},
        ]
    assert "event 2" in caplog.text


async def test_close_ends_every_subscriber(db: Database) -> None:
    events = Events(db)

    async def follow() -> list[Event]:
        async with events.subscribe(None) as stream:
            ready.set()
            return [event async for event in stream]

    ready = asyncio.Event()
    follower = asyncio.create_task(follow())
    async with asyncio.timeout(10):
        await ready.wait()
        await events.append("daemon_stopped", None, {})
        await events.publish()
        await events.close()
        assert [event.kind for event in await follower] == ["daemon_stopped"]
    async with events.subscribe(None) as stream:
        assert [event async for event in stream] == []


def test_each_kind_of_event_has_a_heading_in_the_reference_and_each_heading_is_a_kind() -> None:
    headings = re.findall(r"^### `(\w+)`$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(EVENT_KINDS)


def test_each_kind_is_described_in_the_reference_as_in_the_table() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    assert [kind for kind, line in EVENT_KINDS.items() if f"### `{kind}`\n{line}" not in text] == []
