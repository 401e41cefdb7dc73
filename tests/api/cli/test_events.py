"""`hive events`: filtered by the daemon, with the date of what is not of today."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from api.cli.client.exit_codes import Code
from api.operations.event_stream import sse
from api.words.times import short_time
from reconciler.store.events.log import Filter

if TYPE_CHECKING:
    from meta.names import AgentName
    from reconciler.views import Status
    from tests.api.conftest import Hive

HAPPENED = (("agent_healthy", 0), ("agent_started", 0), ("agent_healthy", 1), ("daemon_started", None))


@pytest.fixture
async def past(hive: Hive) -> Hive:
    """A hive in which a few things happened."""
    for number, (kind, agent) in enumerate(HAPPENED):
        name: AgentName | None = None if agent is None else hive.fake.names[agent]
        await hive.fake.events.append(kind, name, {"n": number})
    return hive


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("", [0, 1, 2, 3]),
        ("--agent alice", [0, 1]),
        ("--kind agent_healthy", [0, 2]),
        ("--kind agent_healthy --kind daemon_started", [0, 2, 3]),
        ("--agent manager --kind agent_started", []),
        ("--since 1h", [0, 1, 2, 3]),
        ("--since 2199-01-01", []),
        ("--kind agent_healthy -n 1", [2]),
        ("-n 2", [2, 3]),
    ],
)
async def test_events_are_filtered_and_the_newest_that_match_are_shown(
    past: Hive, words: str, numbers: list[int]
) -> None:
    code, out, err = await past.hive("events", "--json", *words.split())
    assert (code, [row["data"]["n"] for row in json.loads(out)]) == (Code.OK, numbers), err


async def test_after_an_event_the_filter_gives_the_next_ones(past: Hive) -> None:
    first = (await past.fake.events.since(None))[0].seq
    _, out, _ = await past.hive("events", "--json", "--after", first, "--kind", "agent_healthy")
    assert [row["data"]["n"] for row in json.loads(out)] == [2]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("--kind nonsense", "'nonsense' is not a kind of event"),
        ("--since soon", "--since 'soon' is not a time"),
        ("--agent A/b", "is no agent name"),
    ],
)
async def test_a_wrong_filter_is_refused(hive: Hive, words: str, what: str) -> None:
    code, _, err = await hive.hive("events", *words.split())
    assert (code, what in err) == (Code.USAGE, True), err


async def test_a_filtered_stream_sends_what_matches_and_nothing_else(past: Hive) -> None:
    source, stopping = past.fake.events, asyncio.Event()
    first = (await source.since(None))[0].seq
    stream = sse(source, first, stopping, None, Filter(kinds=frozenset({"agent_healthy"})))
    blocks = [await anext(stream), await anext(stream)]
    assert [block.splitlines()[1] for block in blocks] == ["event: ready", "event: agent_healthy"]
    assert '"n":2' in blocks[1]
    await stream.aclose()  # type: ignore[attr-defined]


def test_a_time_has_its_date_unless_it_is_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    assert short_time(now) == time.strftime("%H:%M:%S", time.localtime(now))
    assert short_time(now - 90_000) == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now - 90_000))
    assert short_time(now + 90_000).startswith("2")


async def test_an_event_of_another_day_shows_its_date(hive: Hive) -> None:
    hive.fake.events._clock = lambda: 1.7e9  # the sequence takes its clock once
    await hive.fake.events.append("daemon_started", None, {})
    assert (await hive.hive("events"))[1] == "2023-11-14 22:13:20 hive: the daemon started\n"


async def test_a_daemon_of_other_files_than_this_command_is_named_in_one_line(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "this command is" not in (await hive.hive("status"))[1]
    status = await hive.fake.status()
    monkeypatch.setattr(hive.fake, "status", lambda: _done(replace(status, revision="0.1+000000000000")))
    line = "note: the daemon runs 0.1+000000000000, this command is 0.1+"
    assert [each for each in (await hive.hive("status"))[1].splitlines() if each.startswith(line)]


async def _done(status: Status) -> Status:
    return status
