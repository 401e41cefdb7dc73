"""The copy of the agents' live events on disk."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meta.names import AgentName
from reconciler.store import live, live_queue
from reconciler.store.live import LiveStore
from reconciler.store.live_queue import LiveRow

ALICE, BOB = AgentName("alice"), AgentName("bob")

Opener = Callable[[], LiveStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.sqlite"


@pytest.fixture
def open_store(path: Path) -> Iterator[Opener]:
    stores: list[LiveStore] = []

    def opener() -> LiveStore:
        stores.append(LiveStore(path))
        return stores[-1]

    yield opener
    for each in stores:
        each.close()


def fill(store: LiveStore, agent: AgentName, ids: range, log: str = "l", text: str = "{}") -> list[LiveRow]:
    return [store.append(agent, log, id, 5, text) for id in ids]


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_rows_survive_a_restart_and_each_agent_has_its_own(path: Path, open_store: Opener) -> None:
    first = open_store()
    rows = fill(first, ALICE, range(1, 6))
    others = fill(first, BOB, range(1, 3))
    first.close()
    assert path.stat().st_mode & 0o777 == 0o600
    second = open_store()
    assert second.newest(ALICE, 3) == rows[2:]
    assert second.newest(BOB, 10) == others
    assert second.after(ALICE, rows[1].seq, 2) == rows[2:4]
    assert second.find(ALICE, "l", 4) == rows[3].seq
    assert second.find(ALICE, "other", 4) is None
    assert second.positions() == {"alice": {"l": 5}, "bob": {"l": 2}}
    assert second.append(ALICE, "l", 6, 5, "{}").seq > others[-1].seq


def test_rows_can_be_read_before_they_are_written(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LINGER", 60.0)
    store = open_store()
    rows = fill(store, ALICE, range(1, 10))
    fill(store, BOB, range(1, 10))
    assert store.newest(ALICE, 4) == rows[5:]
    assert store.after(ALICE, rows[2].seq, 3) == rows[3:6]
    assert store.find(ALICE, "l", 9) == rows[8].seq


def test_an_agent_keeps_its_share_and_takes_none_of_another(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "AGENT_ROWS", 20)
    monkeypatch.setattr(live, "AGENT_BYTES", 3_000)
    store = open_store()
    others = fill(store, BOB, range(1, 11))
    fill(store, ALICE, range(1, 101))
    store.close()
    again = open_store()
    assert [row.id for row in again.newest(ALICE, 1_000)] == list(range(81, 101))
    fill(again, ALICE, range(101, 111), text="x" * 1_000)
    again.close()
    last = open_store()
    assert [row.id for row in last.newest(ALICE, 1_000)] == [108, 109, 110]
    assert last.newest(BOB, 1_000) == others


def test_what_is_forgotten_stays_gone_and_what_comes_after_stays(open_store: Opener) -> None:
    store = open_store()
    fill(store, ALICE, range(1, 4))
    store.forget(ALICE)
    assert store.newest(ALICE, 10) == []
    newer = fill(store, ALICE, range(1, 3), log="m")
    store.close()
    again = open_store()
    assert again.newest(ALICE, 10) == newer
    assert again.positions() == {"alice": {"m": 2}}


@pytest.mark.parametrize("damage", ["text", "inner", "table"])
def test_a_damaged_file_is_begun_anew(path: Path, open_store: Opener, damage: str) -> None:
    first = open_store()
    fill(first, ALICE, range(1, 500), text="x" * 500)
    first.close()
    whole = path.read_bytes()
    if damage == "text":
        path.write_text("no database")
    elif damage == "inner":
        path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TABLE events")
            connection.execute("CREATE TABLE events (other TEXT)")
        connection.close()
    store = open_store()
    store.newest(ALICE, 1_000)
    newer = fill(store, ALICE, range(500, 502))
    until(lambda: not store._waiting and not store.trouble)
    assert store.newest(ALICE, 1_000) == newer
    assert store.trouble == ""


def test_without_the_file_rows_stay_in_memory_and_are_written_later(
    path: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.01)
    path.mkdir()
    store = open_store()
    rows = fill(store, ALICE, range(1, 4))
    assert store.trouble
    assert store.newest(ALICE, 10) == rows
    path.rmdir()
    until(lambda: not store._waiting and not store.trouble)
    assert (store.trouble, store.newest(ALICE, 10)) == ("", rows)


@pytest.fixture
def unusable(path: Path, open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> LiveStore:
    """A copy whose file cannot be used until its directory is removed, with room for six rows in memory."""
    monkeypatch.setattr(live_queue, "ROWS", 6)
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.01)
    path.mkdir()
    return open_store()


def note(row: LiveRow, missing: int) -> LiveRow:
    text = f"{missing} events before the next one are missing: hive could not keep them"
    return row._replace(text=json.dumps({"kind": "note", "text": text}, separators=(",", ":")))


def test_what_waits_in_memory_is_bounded_and_a_note_says_what_is_missing(path: Path, unusable: LiveStore) -> None:
    rows = fill(unusable, ALICE, range(1, 10))
    kept = [note(rows[2], 3), *rows[-6:]]
    assert unusable.newest(ALICE, 10) == kept
    path.rmdir()
    until(lambda: not unusable._waiting and not unusable.trouble)
    assert unusable.newest(ALICE, 10) == kept
    more = fill(unusable, ALICE, range(10, 12))
    until(lambda: not unusable._waiting)
    assert unusable.newest(ALICE, 10) == [*kept, *more]


def test_the_flood_of_one_agent_drops_nothing_of_another(unusable: LiveStore) -> None:
    others = fill(unusable, BOB, range(1, 4))
    rows = fill(unusable, ALICE, range(1, 1_000))
    assert unusable.newest(BOB, 10) == others
    assert unusable.newest(ALICE, 10) == [note(rows[-4], 996), *rows[-3:]]


def test_the_bytes_in_memory_are_shared_as_the_rows_are(unusable: LiveStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_queue, "BYTES", 1_000)
    others = fill(unusable, BOB, range(1, 4), text="x" * 10)
    rows = fill(unusable, ALICE, range(1, 5), text="x" * 400)
    assert unusable.newest(BOB, 10) == others
    assert unusable.newest(ALICE, 10) == [note(rows[1], 2), *rows[2:]]
    unusable.forget(ALICE)
    assert len(unusable._waiting) == 3
