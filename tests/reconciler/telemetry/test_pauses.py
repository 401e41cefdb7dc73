"""The pauses of the event loop: what is measured, and for how long it is remembered."""

from __future__ import annotations

import asyncio
import time

import pytest

from reconciler.telemetry.metrics import Metrics
from reconciler.telemetry.pauses import WINDOW, Longest, Pauses


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def pauses(now: list[float]) -> Pauses:
    return Pauses(lambda: now[0])


def test_the_longest_pause_and_the_longest_work_are_kept(pauses: Pauses) -> None:
    for late, worked in ((0.1, 0.5), (0.7, 0.2), (0.3, 0.3)):
        pauses.note(late, worked)
    assert pauses.longest() == Longest(0.7, 0.3)


def test_a_pause_is_forgotten_after_two_windows(pauses: Pauses, now: list[float]) -> None:
    pauses.note(2.0, 2.0)
    now[0] = WINDOW
    pauses.note(0.1, 0.0)
    assert pauses.longest().pause == 2.0
    now[0] = 2 * WINDOW
    pauses.note(0.0, 0.0)
    assert pauses.longest().pause == 0.1


def test_a_long_pause_is_logged_once_in_a_while(pauses: Pauses, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        pauses.note(1.5, 0.5)
    assert [record.getMessage() for record in caplog.records] == [
        "the event loop stood still for 1.5 s, 0.5 s of it at work"
    ]


async def test_a_callback_that_works_is_seen_in_the_metrics() -> None:
    metrics = Metrics()
    measuring = asyncio.ensure_future(metrics.pauses.run())
    await asyncio.sleep(0)
    end = time.thread_time() + 0.4
    while time.thread_time() < end:
        pass
    async with asyncio.timeout(10):
        while not metrics.pauses.longest().busy:
            await asyncio.sleep(0.01)
    measuring.cancel()
    assert b"hive_loop_busy_seconds 0." in metrics.render(None, 0)
    assert metrics.pauses.longest().pause >= metrics.pauses.longest().busy > 0.1
