"""The agents' live events as hive takes them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from meta.errors import DiskFull, HiveError, PermanentError, TransientError
from meta.names import AgentName
from meta.wire.link import Hello
from meta.wire.under_way import MARK
from reconciler.observe.live import CHANNEL, LOGS, Live, LiveLine
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


def event(id: int, **value: object) -> LiveLine:
    value = value or {"kind": "note", "text": str(id)}
    return LiveLine(id, 7, value, json.dumps(value))


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
    assert live._subscriptions == {}


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
    whole = {"kind": "stream", "items": [{"type": "text", "text": "oo"}]}
    with live.watch(ALICE) as watcher:
        await live.take(ALICE, event(1))
        for id in (2, 3):
            await live.take(ALICE, event(id, **piece("o")))
        await live.take(ALICE, event(4, **whole))
        assert [row.id for row in watcher.take() or ()] == [1, 2, 3, 4]
    assert await ids(live) == ["log1-1", "log1-4"]
    assert [row.id for row in await live.after(ALICE, "log1-2", 9) or ()] == [4]
    assert live.begin(ALICE, hello()) == 4


def piece(text: str) -> dict[str, Any]:
    return {"kind": "stream", "value": None, "items": [{"type": "text_delta", "text": text}]}


async def test_who_comes_in_the_middle_of_a_text_gets_its_beginning_and_who_comes_again_what_is_between(
    live: Live,
) -> None:
    live.begin(ALICE, hello())
    for event_ in (event(1), event(2, **piece("I ")), event(3), event(4, **piece("see"))):
        await live.take(ALICE, event_)
    assert await ids(live) == ["log1-1", "log1-2", "log1-3", "log1-4"]
    assert [row.id for row in await live.after(ALICE, "log1-2", 9) or ()] == [3, 4]
    assert [row.id for row in await live.newest(ALICE, 1)] == [4] and await live.newest(ALICE, 0) == []
    await live.take(ALICE, event(5, kind="stream", items=[{"type": "text", "text": "I see"}]))
    assert await ids(live) == ["log1-1", "log1-3", "log1-5"]


async def test_a_text_under_way_is_bounded_and_says_where_pieces_are_missing(live: Live) -> None:
    live.begin(ALICE, hello())
    await live.take(ALICE, event(1))
    for id in range(2, 9):
        await live.take(ALICE, event(id, **piece("x" * 60_000)))
    kept = await live.newest(ALICE, 100)
    assert [row.id for row in kept] == [1, 2, 3, 4, 5, 6] and kept[-1].text == MARK
    await live.forget(ALICE)
    assert await ids(live) == []


class Usages:
    """Records usages, if the disk has room."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.recorded: list[int] = []
        self.entered, self.free = asyncio.Event(), asyncio.Event()
        self.free.set()

    async def record(self, agent: AgentName, log: str, id: int, ts: int, value: Mapping[str, Any]) -> None:
        self.entered.set()
        await self.free.wait()
        if self.error is not None:
            raise self.error
        self.recorded.append(id)


@pytest.fixture
def usages() -> Usages:
    return Usages()


@pytest.fixture
async def counting(tmp_path: Path, usages: Usages) -> AsyncIterator[Live]:
    """The live events of a daemon that counts usages."""
    live = Live(LiveStore(tmp_path / "live.sqlite"), usages.record)
    live.begin(ALICE, hello())
    yield live
    await live.close()


async def test_a_usage_is_recorded_once_and_a_malformed_one_too(counting: Live, usages: Usages) -> None:
    await counting.take(ALICE, event(1, **USAGE))
    await counting.take(ALICE, event(1, **USAGE))
    await counting.take(ALICE, event(2, kind="usage", runtime=7))
    assert usages.recorded == [1, 2]
    assert await ids(counting) == ["log1-1", "log1-2"]
    assert counting.missing_after(ALICE) is None


async def test_a_usage_is_recorded_before_the_event_counts_as_taken(counting: Live, usages: Usages) -> None:
    usages.free.clear()
    taking = asyncio.create_task(counting.take(ALICE, event(1, **USAGE)))
    await usages.entered.wait()
    assert counting.begin(ALICE, hello()) == 0
    usages.free.set()
    await taking
    assert counting.begin(ALICE, hello()) == 0  # that link was over: the event comes again over the new one


@pytest.mark.parametrize("error", [DiskFull("full", "free some space"), TransientError("locked")])
async def test_a_usage_that_cannot_be_recorded_now_is_asked_for_again(
    counting: Live, usages: Usages, error: HiveError
) -> None:
    usages.error = error
    await counting.take(ALICE, event(1))
    with counting.watch(ALICE) as watcher:
        for each in (event(2, **USAGE), event(3), event(4, **USAGE)):
            await counting.take(ALICE, each)
        assert counting.missing_after(ALICE) == 1
        assert await ids(counting) == ["log1-1"]
        usages.error = None
        await counting.take(ALICE, event(5))  # it was on its way already
        assert counting.missing_after(ALICE) == 1
        for each in (event(2, **USAGE), event(3), event(4, **USAGE), event(5), event(6)):
            await counting.take(ALICE, each)
        assert [row.id for row in watcher.take() or ()] == [2, 3, 4, 5, 6]  # each once
    assert usages.recorded == [2, 4]
    assert counting.missing_after(ALICE) is None
    assert await ids(counting) == [f"log1-{id}" for id in range(1, 7)]


async def test_a_watcher_that_comes_back_with_its_position_has_no_event_twice(
    counting: Live, usages: Usages, tmp_path: Path
) -> None:
    usages.error = DiskFull("full")
    for each in (event(1), event(2, **USAGE), event(3), event(4)):
        await counting.take(ALICE, each)
    await counting.close()
    usages.error = None
    again = Live(LiveStore(tmp_path / "live.sqlite"), usages.record)
    with again.watch(ALICE, "log1-3") as early:
        assert again.begin(ALICE, hello(last=4)) == 1
        with again.watch(ALICE, "log1-3") as late, again.watch(ALICE) as new:
            for each in (event(2, **USAGE), event(3), event(4), event(5)):
                await again.take(ALICE, each)
            assert [row.id for row in early.take() or ()] == [row.id for row in late.take() or ()] == [4, 5]
            assert [row.id for row in new.take() or ()] == [2, 3, 4, 5]
    await again.close()


@pytest.mark.parametrize("first", [True, False])
async def test_a_watcher_has_the_new_events_of_a_log_that_was_set_back(live: Live, first: bool) -> None:
    if first:
        live.begin(ALICE, hello(last=5))
    with live.watch(ALICE, "log1-9") as watcher:
        if not first:
            live.begin(ALICE, hello(last=5))
        for id in (6, 7):
            await live.take(ALICE, event(id))
        assert [row.id for row in watcher.take() or ()] == [6, 7]


async def test_a_usage_that_the_agent_does_not_keep_any_more_holds_nothing_up(counting: Live, usages: Usages) -> None:
    usages.error = DiskFull("full")
    for each in (event(1, **USAGE), event(2), event(3)):
        await counting.take(ALICE, each)
    await counting.take(ALICE, event(3))
    assert counting.missing_after(ALICE) is None
    assert await ids(counting) == ["log1-3"]


async def test_a_new_link_begins_before_the_usage_that_was_not_recorded(counting: Live, usages: Usages) -> None:
    usages.error = DiskFull("full")
    await counting.take(ALICE, event(1, **USAGE))
    await counting.take(ALICE, event(2))
    assert counting.begin(ALICE, hello()) == 0


async def test_a_usage_that_can_never_be_recorded_holds_nothing_up(counting: Live, usages: Usages) -> None:
    usages.error = PermanentError("the database is damaged")
    await counting.take(ALICE, event(1, **USAGE))
    assert counting.missing_after(ALICE) is None
    assert await ids(counting) == ["log1-1"]


async def test_a_usage_that_hive_fails_to_read_is_recorded_as_a_malformed_one(tmp_path: Path) -> None:
    recorded: list[Mapping[str, Any]] = []

    async def record(agent: AgentName, log: str, id: int, ts: int, value: Mapping[str, Any]) -> None:
        if value.get("turn"):
            raise OverflowError
        recorded.append(value)

    live = Live(LiveStore(tmp_path / "live.sqlite"), record)
    live.begin(ALICE, hello())
    await live.take(ALICE, event(1, **USAGE, turn=10**400))
    assert recorded == [{"kind": "usage"}]
    assert live.missing_after(ALICE) is None
    assert await ids(live) == ["log1-1"]
    await live.close()


async def test_a_fault_of_hive_in_recording_a_usage_does_not_end_the_link(counting: Live, usages: Usages) -> None:
    usages.error = KeyError("a fault")
    await counting.take(ALICE, event(1, **USAGE))
    assert counting.missing_after(ALICE) is None
    assert await ids(counting) == ["log1-1"]


async def test_the_position_never_goes_back_if_another_link_was_faster(counting: Live, usages: Usages) -> None:
    usages.free.clear()
    slow = asyncio.create_task(counting.take(ALICE, event(1, **USAGE)))
    await usages.entered.wait()
    counting.begin(ALICE, hello())
    usages.free.set()
    with counting.watch(ALICE) as watcher:
        for id in (1, 2, 3):
            await counting.take(ALICE, event(id))
        await slow
        assert [row.id for row in watcher.take() or ()] == [1, 2, 3]
    assert counting.begin(ALICE, hello()) == 3


async def test_an_event_without_a_kind_is_replaced(live: Live) -> None:
    live.begin(ALICE, hello())
    await live.take(ALICE, event(1, text="x" * 1_000))
    await live.take(ALICE, event(2, kind="k" * 1_000))
    assert {row.text for row in await live.newest(ALICE, 10)} == {
        '{"kind":"note","text":"an event without a kind, which hive cannot show"}'
    }
