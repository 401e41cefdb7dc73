"""The agents' live events as hive takes them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meta.errors import DiskFull
from meta.names import AgentName
from meta.wire.link import Hello
from meta.wire.live import Usage
from reconciler.observe.live import CHANNEL, LOGS, Given, Live
from reconciler.store.live import LiveStore

ALICE, BOB = AgentName("alice"), AgentName("bob")
USAGE = {"kind": "usage", "runtime": "claude", "seconds": 2.5, "ending": "ok", "cost_dollars": 0.25}


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    live = Live(LiveStore(tmp_path / "live.sqlite"))
    yield live
    await live.close()


def hello(log: str | None = "log1", last: int = 10**6) -> Hello:
    return Hello(generation="g", nonce="n", log=log, last=last)


def event(id: int, **value: object) -> Given:
    value = value or {"kind": "note", "text": str(id)}
    return Given(id, 7, value, json.dumps(value))


async def ids(live: Live, agent: AgentName = ALICE) -> list[str]:
    return [row.position for row in await live.newest(agent, 1_000)]


async def test_each_event_is_taken_once_also_over_a_new_link(live: Live) -> None:
    assert live.begin(ALICE, hello()) == 0
    for id in (1, 2, 2, 1, 3):
        await live.take(ALICE, event(id))
    assert live.begin(ALICE, hello()) == 3
    for id in (3, 4):
        await live.take(ALICE, event(id))
    assert await ids(live) == ["log1-1", "log1-2", "log1-3", "log1-4"]


async def test_the_position_survives_a_restart_of_the_daemon(live: Live, tmp_path: Path) -> None:
    live.begin(ALICE, hello())
    await live.take(ALICE, event(4))
    await live.close()
    again = Live(LiveStore(tmp_path / "live.sqlite"))
    assert again.begin(ALICE, hello()) == 4
    assert await ids(again) == ["log1-4"]
    await again.close()


async def test_a_new_log_begins_at_its_beginning(live: Live) -> None:
    live.begin(ALICE, hello())
    await live.take(ALICE, event(9))
    assert live.begin(ALICE, hello("log2")) == 0
    await live.take(ALICE, event(1))
    assert live.begin(ALICE, hello("log1")) == 9
    assert await ids(live) == ["log1-9", "log2-1"]


async def test_the_events_of_a_log_that_was_set_back_are_taken(live: Live) -> None:
    live.begin(ALICE, hello())
    await live.take(ALICE, event(9))
    assert live.begin(ALICE, hello(last=5)) == 5
    await live.take(ALICE, event(6))
    assert await ids(live) == ["log1-9", "log1-6"]


async def test_the_logs_of_an_agent_are_bounded(live: Live) -> None:
    for number in range(100):
        live.begin(ALICE, hello(f"log{number}"))
    assert len(live._positions[ALICE]) == LOGS


@pytest.mark.parametrize("log", [None, "", "a-1", "a.b"])
async def test_a_harness_without_a_log_is_not_followed(live: Live, log: str | None) -> None:
    assert live.begin(ALICE, hello(log)) is None
    await live.take(ALICE, event(1))
    assert await ids(live) == []


async def test_a_watcher_gets_what_its_agent_sends_and_a_resync_if_it_lags(live: Live) -> None:
    live.begin(ALICE, hello())
    live.begin(BOB, hello())
    with live.watch(ALICE) as watcher:
        await live.take(BOB, event(1))
        await live.take(ALICE, event(1))
        await live.take(ALICE, event(2))
        assert [row.id for row in watcher.take() or ()] == [1, 2]
        for id in range(3, 3 + CHANNEL + 1):
            await live.take(ALICE, event(id))
        assert watcher.take() is None
        assert [row.id for row in watcher.take() or ()] == [3 + CHANNEL]
    assert live._watchers == {}


async def test_a_destroyed_agent_has_no_events_until_its_next_hello(live: Live) -> None:
    live.begin(ALICE, hello())
    await live.take(ALICE, event(1))
    await live.forget(ALICE)
    await live.take(ALICE, event(2))
    assert await ids(live) == []
    assert live.begin(ALICE, hello()) == 0


async def test_a_destroy_that_is_over_has_left_no_event_in_the_file(live: Live, tmp_path: Path) -> None:
    live.begin(ALICE, hello())
    await live.take(ALICE, event(1))
    await live.forget(ALICE)
    with sqlite3.connect(tmp_path / "live.sqlite") as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (0,)


async def test_what_follows_a_position_is_returned_or_none_if_it_is_gone(live: Live) -> None:
    live.begin(ALICE, hello())
    for id in range(1, 6):
        await live.take(ALICE, event(id))
    assert [row.id for row in await live.after(ALICE, "log1-2", 2) or ()] == [3, 4]
    assert await live.after(ALICE, "log1-5", 2) == []
    assert await live.after(ALICE, "log1-0", 2) is None
    assert await live.after(BOB, "log1-2", 2) is None


async def test_a_piece_of_a_text_is_shown_and_not_kept_and_its_place_is_known(live: Live) -> None:
    live.begin(ALICE, hello())
    piece = {"kind": "stream", "value": None, "items": [{"type": "text_delta", "text": "o"}]}
    with live.watch(ALICE) as watcher:
        await live.take(ALICE, event(1))
        for id in (2, 3):
            await live.take(ALICE, event(id, **piece))
        await live.take(ALICE, event(4))
        assert [row.id for row in watcher.take() or ()] == [1, 2, 3, 4]
    assert await ids(live) == ["log1-1", "log1-4"]
    assert [row.id for row in await live.after(ALICE, "log1-2", 9) or ()] == [4]
    assert live.begin(ALICE, hello()) == 4


async def test_a_usage_is_reported_before_the_event_counts_as_taken(tmp_path: Path) -> None:
    reported: list[tuple[object, ...]] = []

    async def on_usage(agent: AgentName, log: str, id: int, ts: int, usage: Usage) -> None:
        reported.append((agent, log, id, ts, usage.cost_dollars, taking._positions[agent][log]))

    taking = Live(LiveStore(tmp_path / "live.sqlite"), on_usage)
    taking.begin(ALICE, hello())
    await taking.take(ALICE, event(1, **USAGE))
    await taking.take(ALICE, event(1, **USAGE))
    await taking.take(ALICE, event(2, kind="usage", runtime=7))
    assert reported == [(ALICE, "log1", 1, 7, 0.25, 0)]
    assert await ids(taking) == ["log1-1", "log1-2"]
    await taking.close()


async def test_a_usage_that_cannot_be_recorded_does_not_end_the_link(tmp_path: Path) -> None:
    async def on_usage(*_: object) -> None:
        raise DiskFull("full", "free some space")

    live = Live(LiveStore(tmp_path / "live.sqlite"), on_usage)
    live.begin(ALICE, hello())
    await live.take(ALICE, event(1, **USAGE))
    assert await ids(live) == ["log1-1"]
    await live.close()


async def test_an_event_without_a_kind_is_replaced(live: Live) -> None:
    live.begin(ALICE, hello())
    await live.take(ALICE, event(1, text="x" * 1_000))
    await live.take(ALICE, event(2, kind="k" * 1_000))
    assert {row.text for row in await live.newest(ALICE, 10)} == {
        '{"kind":"note","text":"an event without a kind, which hive cannot show"}'
    }
