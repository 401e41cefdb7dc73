"""Log lines that an agent causes are bounded, and it is said how many were left out."""

from __future__ import annotations

import logging

import pytest

from reconciler.common.log_limit import BURST, INTERVAL, LogLimit


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def limit(now: list[float]) -> LogLimit:
    return LogLimit(lambda: now[0])


def record(key: str | None) -> logging.LogRecord:
    made = logging.LogRecord("api", logging.WARNING, "x.py", 1, "%s is odd", ("it",), None)
    if key is not None:
        made.limited = key
    return made


def test_a_flood_of_one_agent_is_cut_and_counted(limit: LogLimit, now: list[float]) -> None:
    assert sum(limit.filter(record("alice")) for _ in range(100)) == BURST
    now[0] = INTERVAL
    later = record("alice")
    assert limit.filter(later)
    assert later.getMessage() == f"it is odd ({100 - BURST} more like this were left out)"
    assert not any(limit.filter(record("alice")) for _ in range(100))


def test_other_agents_and_lines_of_hives_own_are_not_cut(limit: LogLimit) -> None:
    for _ in range(100):
        limit.filter(record("alice"))
    assert limit.filter(record("bob"))
    assert all(limit.filter(record(None)) for _ in range(100))
