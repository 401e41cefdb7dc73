from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pydantic_core import from_json

from harness.events import database, store
from harness.events.bus import CHANNEL, Bus
from harness.events.database import HISTORY, Row
from harness.events.encoding import DEPTH, EVENT_BYTES, encode_bounded
from harness.events.store import EventStore
from meta.wire.live import Note, Stream, Text, TextDelta, TurnEnd, TurnStart, Unknown, Usage, decode_event, is_passing

SEED = """
CREATE TABLE IF NOT EXISTS events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    ts           INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    payload_json TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_events_ts ON events (ts);
"""

Opener = Callable[..., EventStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sqlite"


@pytest.fixture
def open_store(path: Path) -> Iterator[Opener]:
    stores: list[EventStore] = []

    def opener(at: Path = path) -> EventStore:
        stores.append(EventStore(at))
        return stores[-1]

    yield opener
    for each in stores:
        each.close()


def note(log: EventStore, text: str) -> Row:
    return log.append(1, "note", encode_bounded(Note(text=text)))


def texts(rows: list[Row]) -> list[str]:
    return [json.loads(row.text)["text"] for row in rows]


def test_the_table_and_its_index_are_those_of_the_seed(path: Path, open_store: Opener) -> None:
    open_store().close()
    with sqlite3.connect(":memory:") as seed:
        seed.executescript(SEED)
        query = "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'events'"
        assert sqlite3.connect(path).execute(query).fetchall() == seed.execute(query).fetchall()


def test_a_file_of_the_older_harness_is_opened_and_its_lost_rows_are_shown(path: Path, open_store: Opener) -> None:
    with sqlite3.connect(path) as seed:
        seed.executescript(SEED)
        start = '{"kind":"turn_start","from":"bob","body":"hi","unread":2}'
        rows = [
            ("turn_start", start),
            ("stream", '{"kind":"stream","type":"result"}'),
            ("note", "null"),  # the older harness could not encode a note
            ("turn_end", '{"kind":"turn_end","ok":true,"note":null}'),
        ]
        seed.executemany("INSERT INTO events (ts, kind, payload_json) VALUES (7, ?, ?)", rows)
    seed.close()
    log = open_store()
    events = [decode_event(row.text) for row in log.read(0, 10)]
    assert events[0] == TurnStart(sender="bob", body="hi", unread=2)
    assert events[1] == Stream(line={"type": "result"})
    assert isinstance(events[2], Note) and "cannot be read" in events[2].text
    assert events[3] == TurnEnd(ok=True)
    assert log.unreadable == 1
    assert note(log, "next").id > 4


def test_the_log_goes_on_with_its_name_and_larger_ids(open_store: Opener) -> None:
    first = open_store()
    row = note(first, "a")
    first.close()
    second = open_store()
    assert second.log == first.log
    assert note(second, "b").id > row.id
    assert texts(second.read(0, 10)) == ["a", "b"]
    assert texts(second.read(row.id, 10)) == ["b"]


def test_a_restored_older_file_gives_no_id_again(path: Path, open_store: Opener, tmp_path: Path) -> None:
    first = open_store()
    note(first, "a")
    first.close()
    copy = path.read_bytes()
    second = open_store()
    later = note(second, "b")
    second.close()
    path.write_bytes(copy)
    assert note(open_store(), "c").id > later.id


def forge(path: Path, id: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute("INSERT INTO events VALUES (?, 1, 'note', ?)", (id, encode_bounded(Note(text="forged"))))


def test_a_row_with_an_id_that_is_yet_to_come_hides_no_row(path: Path, open_store: Opener) -> None:
    log = open_store()
    first = note(log, "a")
    until(lambda: not log._waiting)
    forge(path, first.id + 1_000)
    note(log, "b")
    assert texts(log.read(0, 10)) == ["a", "b"]


def test_ids_that_leave_no_room_are_none_of_hives(path: Path, open_store: Opener) -> None:
    open_store().close()
    forge(path, 2**52 + 5)
    log = open_store()
    assert note(log, "a").id < 2**52
    assert texts(log.read(0, 10)) == ["a"]


def test_rows_can_be_read_before_they_are_written(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LINGER", 60.0)
    log = open_store()
    rows = [note(log, str(number)) for number in range(5)]
    assert log.read(rows[1].id, 2) == rows[2:4]
    assert log.read(0, HISTORY) == rows


@pytest.mark.parametrize("older", [False, True], ids=["new", "of the older harness"])
def test_rows_over_the_limit_are_deleted_and_their_space_is_given_back(
    path: Path, open_store: Opener, older: bool
) -> None:
    if older:
        with sqlite3.connect(path) as seed:
            seed.executescript(SEED)
            row = ("note", encode_bounded(Note(text="x" * 2000)))
            seed.executemany("INSERT INTO events (ts, kind, payload_json) VALUES (1, ?, ?)", [row] * 5000)
        seed.close()
    log = open_store()
    for number in range(5000 - 4900 * older):
        log.append(1, "note", encode_bounded(Note(text=f"{number} {'x' * 2000}")))
        if number % 1000 == 0:
            until(lambda: not log._waiting)
    log.close()
    with sqlite3.connect(path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
        assert count <= HISTORY + store.SWEEP_ROWS + 1000
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] < 100
    connection.close()
    assert path.stat().st_size < 3_600 * 4_096  # a page of each row; all rows would take 20 MB
    assert len(open_store().read(0, HISTORY)) <= HISTORY


def test_the_log_is_bounded_in_bytes(path: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "HISTORY_BYTES", 50_000)
    log = open_store()
    for _ in range(100):
        note(log, "y" * 1000)
    log.close()
    file = database.Database(path)
    file.sweep()
    assert 40 < len(file.after(0, 2**52, 1000)) < 51
    file.close()


@pytest.mark.parametrize("damage", ["text", "half", "columns", "directory", "inner", "ids"])
def test_a_damaged_file_is_set_aside_and_the_log_begins_anew(
    path: Path, open_store: Opener, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_store()
    for number in range(300):
        note(first, f"{number}" + "z" * 1000)
    first.close()
    whole = path.read_bytes()
    if damage == "text":
        path.write_text("no database")
    elif damage == "half":
        path.write_bytes(whole[:5000])
    elif damage == "inner":
        path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    elif damage == "ids":  # after a few more events the link could not carry them
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO events VALUES (?, 5, 'note', '{}')", (2**53 - 5,))
        connection.commit()
        connection.close()
    else:
        path.unlink()
        if damage == "directory":
            path.mkdir()
        else:
            connection = sqlite3.connect(path)
            connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, other TEXT)")
            connection.close()
    log = open_store()
    log.read(0, 1000)
    note(log, "after")
    assert texts(log.read(0, 1000))[-1] == "after"
    log.close()
    assert len(list(path.parent.glob("*.damaged-*"))) == 1
    assert "damaged" in caplog.text
    assert texts(open_store().read(0, HISTORY)) == ["after"]


def test_only_some_damaged_files_are_kept(path: Path) -> None:
    for seconds in range(100, 106):
        path.write_text("no database")
        EventStore(path, clock=partial(float, seconds)).close()
    names = sorted(each.name for each in path.parent.glob("*.damaged-*"))
    assert names == ["events.sqlite.damaged-104", "events.sqlite.damaged-105"]


def test_without_its_directory_the_log_goes_on_in_memory_and_recovers(
    tmp_path: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "RETRY_SECONDS", (0.01, 0.02))
    (tmp_path / "state").write_text("a file instead of the directory")
    path = tmp_path / "state" / "events.sqlite"
    log = open_store(path)
    rows = [note(log, "a"), note(log, "b")]
    until(lambda: caplog.text.count("cannot be used") >= 1)
    assert log.read(0, 10) == log.read(0, HISTORY) == rows
    name = log.log
    (tmp_path / "state").unlink()
    until(lambda: path.exists() and not log._waiting and not log.trouble)
    assert log.trouble == ""
    assert caplog.text.count("cannot be used") == 1
    assert log.read(0, 10) == rows
    log.close()
    again = open_store(path)
    assert (again.log, again.read(0, 10)) == (name, rows)


def test_what_does_not_fit_into_memory_is_counted_and_noted(
    tmp_path: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RETRY_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(store, "WAITING", 3)
    (tmp_path / "state").write_text("")
    log = open_store(tmp_path / "state" / "events.sqlite")
    rows = [note(log, str(number)) for number in range(10)]
    assert (log.lost, log.read(0, 100)) == (7, rows[7:])
    (tmp_path / "state").unlink()
    until(lambda: not log._waiting)
    assert texts(log.read(0, 100)) == ["7 events before the next one were not written to the log", "7", "8", "9"]


def test_a_log_that_began_without_its_file_never_sends_older_rows_as_its_own(
    tmp_path: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RETRY_SECONDS", (0.01, 0.02))
    state = tmp_path / "state"
    older = open_store(state / "events.sqlite")
    note(older, "older")
    older.close()
    state.rename(tmp_path / "away")
    state.write_text("")
    log = open_store(state / "events.sqlite")
    note(log, "newer")
    state.unlink()
    (tmp_path / "away").rename(state)
    until(lambda: not log._waiting)
    assert texts(log.read(0, 10)) == ["newer"]


def test_hostile_rows_are_notes(path: Path, open_store: Opener) -> None:
    open_store().close()
    with sqlite3.connect(path) as connection:
        rows = [
            (1, 5, "note", b"\xff\xfe"),
            (2, "when", "note", '{"kind":"note","text":"kept"}'),
            (3, 5, "note", "x" * 1_000_000),
            (4, 5, b"\x00", '{"kind":"note","text":"y"}'),
            (5, -7, "none", '{"kind":"none"}'),
            (6, 5, "note", "[" * 100_000),
        ]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
    connection.close()
    log = open_store()
    shown = texts(log.read(0, 10))
    assert len(shown) == 6
    assert [text == "kept" or "cannot be read" in text for text in shown] == [True] * 6
    assert log.unreadable == 5
    log.read(0, 10)
    assert log.unreadable == 5  # rows, not reads


async def test_a_usage_has_the_unknown_lines_and_unreadable_rows_since_the_one_before(
    open_store: Opener, path: Path
) -> None:
    first = open_store()
    note(first, "begins")
    first.close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO events VALUES (NULL, 5, 'note', 'null')")
    connection.close()
    bus = Bus(open_store())
    usage = Usage(runtime="claude", seconds=1.0, ending="ok")
    with bus.subscribe() as watching:
        bus.line([Unknown(name="new"), Text(text="a")], {"type": "new"})
        bus.count([Unknown(name="new"), Text(text="a")])
        bus._store.read(0, 10)
        bus.emit(usage)
        bus.emit(usage)
        events = [decode_event(row.text) for row in await watching.get() or ()]
    counts = [(event.unknown_lines, event.unreadable_rows) for event in events if isinstance(event, Usage)]
    assert counts == [(2, 1), (0, 0)]


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.005)


# the bus
async def test_follow_after_an_id_gives_the_tail_and_then_what_is_new(open_store: Opener) -> None:
    bus = Bus(open_store())
    for number in range(700):
        bus.emit(Note(text=str(number)))
    ids = [row.id for row in bus._store.read(0, HISTORY)]
    got: list[str] = []
    async with asyncio.timeout(20):
        async for rows in bus.follow(ids[99]):
            got += texts(rows)
            if len(got) == 600:
                bus.emit(Note(text="700"))
            if len(got) >= 601:
                break
    assert got == [str(number) for number in range(100, 701)]


async def test_a_subscriber_that_lags_gets_resync_and_then_the_newer_events(open_store: Opener) -> None:
    bus = Bus(open_store())
    with bus.subscribe() as subscription:
        for number in range(CHANNEL + 1):
            bus.emit(Note(text=str(number)))
        assert await subscription.get() is None
        assert texts(await subscription.get() or []) == [str(CHANNEL)]


async def test_a_follower_that_lags_misses_nothing(open_store: Opener) -> None:
    bus = Bus(open_store())
    following = bus.follow(0)
    bus.emit(Note(text="-1"))
    assert texts(await anext(following)) == ["-1"]
    for number in range(3 * CHANNEL):
        bus.emit(Note(text=str(number)))
    got: list[str] = []
    while len(got) < 3 * CHANNEL:
        got += texts(await anext(following))
    assert got == [str(number) for number in range(3 * CHANNEL)]
    await following.aclose()


async def test_pieces_of_a_text_are_shown_live_and_not_kept(open_store: Opener) -> None:
    bus = Bus(open_store())
    following = bus.follow(0)
    bus.line([Text(text="zero")], None)
    got = list(await anext(following))
    for text in ("o", "ne"):
        bus.line([TextDelta(text=text)], None)
    bus.line([Text(text="one")], None)
    while len(got) < 4:
        got += await anext(following)
    items = [json.loads(row.text)["items"][0] for row in got]
    assert [(item["type"], item["text"]) for item in items] == [
        ("text", "zero"),
        ("text_delta", "o"),
        ("text_delta", "ne"),
        ("text", "one"),
    ]
    assert [is_passing(json.loads(row.text)) for row in got] == [False, True, True, False]
    assert bus._store.read(0, HISTORY) == [got[0], got[3]]
    assert bus.last == got[3].id
    await following.aclose()


async def test_a_link_in_the_middle_of_a_text_gets_its_beginning_in_order_and_once(open_store: Opener) -> None:
    bus = Bus(open_store())
    bus.line([TextDelta(text="o")], None)
    bus.emit(Note(text="between"))
    first = bus.last
    bus.line([TextDelta(text="ne")], None)
    following, again = bus.follow(0), bus.follow(first)
    assert ["o" if "text_delta" in row.text else row.kind for row in await anext(following)] == ["o", "note", "o"]
    assert [row.id for row in await anext(again)] == [bus.last]
    bus.line([TextDelta(text=" two")], None)
    assert [row.id for row in await anext(following)] == [bus.last]
    bus.line([Text(text="one two")], None)
    assert [row.kind for row in await anext(bus.follow(0))] == ["note", "stream"]
    await following.aclose()
    await again.aclose()


@pytest.mark.parametrize(
    "line",
    [float("nan"), {"a": [float("inf"), 2**70, 10**4000]}, "\ud800 half", {"kind": "mine"}, object(), "x" * 10**6],
)
async def test_an_event_always_becomes_json_of_bounded_size(line: object, open_store: Opener) -> None:
    bus = Bus(open_store())
    bus.emit(Stream(line=line))
    bus.line((), line)
    for row in bus._store.read(0, HISTORY):
        assert len(row.text.encode()) <= EVENT_BYTES
        assert "\n" not in row.text
        decode_event(row.text.encode())


async def test_a_line_is_the_event_that_it_means(open_store: Opener) -> None:
    bus = Bus(open_store())
    items, line = (Text(text="I see. é"),), {"type": "assistant", "parts": [1, None, {"a": True}]}
    bus.line(items, line)
    bus.emit(Note(text="a note"))
    first, second = bus._store.read(0, HISTORY)
    assert decode_event(first.text) == Stream(items=items, line=line)
    assert decode_event(second.text) == Note(text="a note")


def test_a_cut_event_keeps_its_kind_and_says_how_long_it_was() -> None:
    items = (Text(text="a" * 100_000), *(Text(text="b") for _ in range(10_000)))
    text = encode_bounded(Stream(line={"type": "assistant", "parts": ["c" * 5_000] * 1_000}, items=items))
    event = decode_event(text)
    assert isinstance(event, Stream)
    assert event.line["type"] == "assistant"
    assert event.line["cut"] > 5_000_000
    assert event.items[0].model_dump()["text"].startswith("aaa")


@pytest.mark.parametrize("depth", [50, 150, 5_000])
def test_a_deep_nest_is_cut(depth: int) -> None:
    line: list[object] = []
    for _ in range(depth):
        line = [line]
    text = encode_bounded(Stream(line={"type": "x", "nest": line}))
    assert text.count("[") == min(depth + 2, DEPTH)  # with the list of items
    assert from_json(text)["type"] == "x"


def test_a_full_disk_is_warned_of_once_and_nothing_is_lost_when_it_has_room_again(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "RETRY_SECONDS", (0.01, 0.02))
    full = True
    connect = sqlite3.connect

    def connect_full(*given: object, **named: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*given, **named)  # type: ignore[call-overload]
        if full:
            connection.execute("PRAGMA max_page_count = 8")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_full)
    log = open_store()
    rows = [note(log, f"{number} {'x' * 1000}") for number in range(100)]
    until(lambda: "cannot be used" in caplog.text)
    assert log.read(0, 1000) == rows
    rows += [note(log, f"{number} {'x' * 1000}") for number in range(100, 200)]
    full = False
    until(lambda: not log._waiting and not log.trouble)
    assert log.read(0, 1000) == rows
    assert caplog.text.count("cannot be used") == 1
    assert "is full" in caplog.text
    assert log.lost == 0
