"""The ticker: it sleeps until something is due, wakes for what is new, and looks now and then at a clock that jumps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from meta.errors import TransientError
from reconciler.common.rounds import Rounds
from reconciler.messaging.ticker import FAR, RELOOK, Ticker, seconds_from

pytestmark = [pytest.mark.looptime]


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Rows:
    """Something with times; `looks` are when it was looked at, `done` what was due then."""

    clock: Callable[[], float] = now
    times: list[int] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    done: list[tuple[int, float]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    rounds: Rounds = field(default_factory=lambda: Rounds("ticker"))
    new: Callable[[], None] = lambda: None

    def on_new(self, listener: Callable[[], None]) -> None:
        self.new = listener

    def add(self, time: int) -> None:
        self.times.append(time)
        self.new()

    async def do_due(self) -> int | None:
        self.looks.append(now())
        if self.faults:
            raise self.faults.pop()
        self.done += [(time, now()) for time in sorted(self.times) if time <= self.clock()]
        self.times = [time for time in self.times if time > self.clock()]
        return min(self.times, default=None)


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[Rows]:
    """A running ticker. No fixture: virtual time begins with the test itself."""
    rows = Rows()
    task = asyncio.create_task(Ticker(rows, Rows(), rounds=rows.rounds, clock=lambda: rows.clock()).run())
    await asyncio.sleep(0)
    yield rows
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_due_is_done_at_its_time_and_nothing_is_looked_at_before() -> None:
    async with ticking() as rows:
        start = now()
        rows.add(int(start) + 10)
        rows.add(int(start) + 5)
        await asyncio.sleep(12)
        assert [time for time, _ in rows.done] == [int(start) + 5, int(start) + 10]
        assert all(at - time < 1 for time, at in rows.done)
        assert len(rows.looks) <= 6


async def test_with_nothing_to_do_it_looks_only_now_and_then() -> None:
    async with ticking() as rows:
        await asyncio.sleep(RELOOK * 10 + 1)
        assert 10 <= len(rows.looks) <= 12


async def test_a_jump_of_the_clock_is_noticed_at_the_next_look() -> None:
    async with ticking() as rows:
        rows.add(int(now()) + 10_000)
        await asyncio.sleep(1)
        rows.clock = lambda: now() + 20_000
        await asyncio.sleep(RELOOK)
        assert len(rows.done) == 1


@pytest.mark.parametrize("fault", [TransientError("the disk is full"), ValueError("a bug")])
async def test_an_error_ends_nothing(fault: Exception) -> None:
    async with ticking() as rows:
        rows.faults.append(fault)
        rows.add(int(now()))
        await asyncio.sleep(RELOOK + 1)
        assert len(rows.done) == 1


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (TransientError("the disk is full", "make room"), "the disk is full (make room)"),
        (ValueError("a bug"), "ValueError: a bug"),
    ],
)
async def test_an_error_is_noted_until_every_source_of_a_round_succeeds(fault: Exception, text: str) -> None:
    async with ticking() as rows:
        rows.faults += [fault, fault]
        rows.new()
        await asyncio.sleep(1)
        note = f"background task ticker failed ({text}); it tries again, and agents run on"
        assert rows.rounds.notes() == (note,)
        await asyncio.sleep(RELOOK)
        assert rows.rounds.failures == 2
        assert "failed 2 times in a row" in rows.rounds.notes()[0]
        await asyncio.sleep(RELOOK)
        assert (rows.rounds.failures, rows.rounds.notes()) == (0, ())


async def test_a_wait_is_never_shorter_than_asked_for_but_by_no_wait_and_bounded() -> None:
    assert (seconds_from(10.9, 1), seconds_from(10.0, 1), seconds_from(10.9, 0)) == (12, 11, 10)
    assert seconds_from(10.9, 2**64) == FAR
