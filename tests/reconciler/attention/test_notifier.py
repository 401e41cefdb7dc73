"""The task that notifies: rows in, a real program and a real database out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meta.errors import NotFound, TransientError
from reconciler.attention import notifier as notifiers
from reconciler.attention.delivery import Delivery
from reconciler.attention.holding import Holding
from reconciler.attention.notifier import Notices, Notifier, notices
from reconciler.attention.plan import Settings
from reconciler.attention.row import Row, Severity
from reconciler.attention.target import parse
from reconciler.common.rounds import Rounds
from reconciler.store.database import Database
from reconciler.store.record import Record


def row(key: str) -> Row:
    return Row(key, "question", Severity.NORMAL, None, 1.0, f"title of {key}", "", "hive questions")


@dataclass
class Place:
    """Rows, and a program that appends what it gets to a file; while `broken` exists it fails."""

    directory: Path
    rows: list[Row] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    looks: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    outcomes: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    holding: Holding = field(default_factory=Holding)
    rounds: Rounds = field(default_factory=lambda: Rounds("notify"))

    def __post_init__(self) -> None:
        self.program.write_text('#!/bin/sh\ncd "$1"; [ ! -e broken ] || exit 1; cat >> out; echo >> out\n', "utf-8")
        self.program.chmod(0o755)

    @property
    def program(self) -> Path:
        return self.directory / "program"

    def notified(self, outcome: str) -> None:
        self.outcomes.put_nowait(outcome)

    async def look(self) -> tuple[Row, ...]:
        self.looks.put_nowait(None)
        if self.faults:
            raise self.faults.pop()
        return tuple(self.rows)

    def sent(self) -> list[list[str]]:
        lines = (self.directory / "out").read_text(encoding="utf-8").splitlines()
        return [[each["key"] for each in json.loads(line)["rows"]] for line in lines]

    def notifier(self, store: Record[Notices], per_hour: int = 12) -> Notifier:
        delivery = Delivery(parse(f"{self.program} {self.directory}"))
        rules = Settings(group=0.0, per_hour=per_hour)
        return Notifier(self.look, store, delivery, rules, self.rounds, self, self.holding)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(notifiers, "RELOOK", 0.02)
    monkeypatch.setattr(notifiers, "SPARE", 0)
    monkeypatch.setattr(notifiers, "BACKOFF", 0.01)
    return Place(tmp_path)


@contextlib.asynccontextmanager
async def running(notifier: Notifier) -> AsyncIterator[None]:
    task = asyncio.create_task(notifier.run())
    try:
        async with asyncio.timeout(20):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def looks(place: Place, count: int) -> None:
    """Wait for this many further looks."""
    while not place.looks.empty():
        place.looks.get_nowait()
    for _ in range(count):
        await place.looks.get()


async def test_a_row_is_sent_once_also_by_the_next_daemon(place: Place, db: Database) -> None:
    place.rows = [row("a"), row("b")]
    async with running(place.notifier(notices(db))):
        assert await place.outcomes.get() == "sent"
        await looks(place, 3)
    async with running(place.notifier(notices(db))):
        await looks(place, 3)
        place.rows.append(row("c"))
        assert await place.outcomes.get() == "sent"
    assert place.sent() == [["a", "b"], ["c"]]


async def test_a_target_that_fails_is_tried_again_logged_once_and_shown_until_it_works(
    place: Place, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=notifiers.__name__)
    broken = place.directory / "broken"
    broken.touch()
    place.rows = [row("a")]
    async with running(place.notifier(notices(db))):
        assert [await place.outcomes.get() for _ in range(3)] == ["failed"] * 3
        (note,) = place.rounds.notes()
        assert note.startswith("background task notify failed")
        assert str(place.program) in note
        broken.unlink()
        while await place.outcomes.get() != "sent":
            pass
        await looks(place, 1)
    assert place.rounds.notes() == ()
    assert place.sent() == [["a"]]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert str(place.directory / "out") not in caplog.text


async def test_rows_that_a_setting_holds_back_are_counted_once_and_noted_while_they_wait(
    place: Place, db: Database
) -> None:
    place.rows = [row("a")]
    async with running(place.notifier(notices(db), per_hour=1)):
        assert await place.outcomes.get() == "sent"
        assert place.holding.notes() == ()
        place.rows.append(row("b"))
        assert await place.outcomes.get() == "held"
        await looks(place, 3)
        (note,) = place.holding.notes()
        assert note.startswith("notifications: 1 row waits until ")
        assert note.endswith(", HIVE_NOTIFY_PER_HOUR")
        place.rows.pop()
        await looks(place, 2)
        assert place.holding.notes() == ()
    assert place.outcomes.empty()


async def test_an_error_of_a_look_ends_nothing(place: Place, db: Database) -> None:
    place.rows, place.faults = [row("a")], [TransientError("the database is locked", "wait")]
    async with running(place.notifier(notices(db))):
        assert await place.outcomes.get() == "sent"


async def test_a_new_row_wakes_the_task(place: Place, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifiers, "RELOOK", 3600.0)
    notifier = place.notifier(notices(db))
    async with running(notifier):
        await place.looks.get()
        place.rows = [row("a")]
        notifier.wake()
        assert await place.outcomes.get() == "sent"


async def test_a_test_says_what_came_back_and_counts_as_no_notification(place: Place, db: Database) -> None:
    notifier = place.notifier(notices(db))
    result = await notifier.test()
    assert (result.sent, result.answer, result.to) == (True, "exit code 0", f"{place.program} [...]")
    (place.directory / "broken").touch()
    result = await notifier.test()
    assert (result.sent, result.answer) == (False, f"{place.program} [...] ended with code 1")
    assert place.outcomes.empty()
    assert await notices(db).load() == Notices()


async def test_without_a_target_a_test_names_the_setting(place: Place, db: Database) -> None:
    none = Notifier(place.look, notices(db), None, Settings(), place.rounds, place, place.holding)
    with pytest.raises(NotFound, match="HIVE_NOTIFY is not set"):
        await none.test()


async def test_a_damaged_record_counts_as_none(db: Database) -> None:
    def damage(connection: Any) -> None:
        connection.execute("INSERT INTO meta VALUES ('notified', '{no')")

    store = notices(db)
    await store.save(Notices({"a": 1.0}, (2.0,)))
    assert await store.load() == Notices({"a": 1.0}, (2.0,))
    await db.write(lambda connection: connection.execute("DELETE FROM meta WHERE name = 'notified'").rowcount)
    await db.write(damage)
    assert await store.load() == Notices()
