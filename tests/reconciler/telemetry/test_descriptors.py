"""A lack of descriptors: one line and one count for each incident."""

from __future__ import annotations

import asyncio
import errno
import logging

import pytest

from api.daemon.descriptors import watch
from meta.errors import TransientError
from reconciler.telemetry.descriptors import OVER, DescriptorFilter, Descriptors, lacks
from reconciler.telemetry.metrics import Metrics


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def incidents() -> list[None]:
    return []


@pytest.fixture
def descriptors(now: list[float], incidents: list[None]) -> Descriptors:
    return Descriptors(lambda: incidents.append(None), lambda: now[0])


def lacking() -> OSError:
    return OSError(errno.EMFILE, "Too many open files")


def test_failures_that_follow_each_other_are_one_incident(
    descriptors: Descriptors, now: list[float], incidents: list[None], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        descriptors.fail()
        now[0] += OVER / 2
    assert len(incidents) == len(caplog.records) == 1
    assert "LimitNOFILE" in descriptors.notes()[0]
    now[0] += OVER
    assert descriptors.notes() == ()
    descriptors.fail()
    assert len(incidents) == len(caplog.records) == 2


def test_the_cause_of_an_error_counts_too() -> None:
    try:
        raise TransientError("cannot start git now") from lacking()
    except TransientError as error:
        assert lacks(error)
    assert not lacks(OSError(errno.ENOENT, "No such file"))
    assert not lacks(None)


def test_tracebacks_of_a_lack_of_descriptors_are_left_out_and_others_stay(
    descriptors: Descriptors, incidents: list[None]
) -> None:
    kept = DescriptorFilter(descriptors).filter

    def record(error: BaseException | None, level: int = logging.ERROR) -> logging.LogRecord:
        info = (type(error), error, None) if error is not None else None
        return logging.LogRecord("x", level, "", 0, "reconciling failed", (), info)

    assert not any(kept(record(lacking())) for _ in range(3))
    assert kept(record(lacking(), logging.CRITICAL))
    assert kept(record(ValueError("a mistake")))
    assert kept(record(None))
    assert len(incidents) == 1


async def test_what_the_loop_reports_is_counted_in_the_metrics_and_other_errors_go_on_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics, loop = Metrics(), asyncio.get_running_loop()
    watch(loop, metrics.descriptors)
    for _ in range(3):
        loop.call_exception_handler({"message": "no accept", "exception": lacking()})
    loop.call_exception_handler({"message": "a mistake of hive", "exception": ValueError()})
    assert b"hive_descriptor_shortages_total 1.0" in metrics.render(None, 0)
    assert [record.name for record in caplog.records] == ["reconciler.telemetry.descriptors", "asyncio"]


def test_a_line_that_quotes_the_lack_is_left_out_only_while_the_daemon_itself_lacks_descriptors(
    descriptors: Descriptors, incidents: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = DescriptorFilter(descriptors).filter
    quote = logging.LogRecord("x", logging.WARNING, "", 0, "alice: the build failed: Too many open files", (), None)
    assert kept(quote) and not incidents
    monkeypatch.setattr("reconciler.telemetry.descriptors.is_at_limit", lambda: True)
    assert not kept(quote) and not kept(quote)
    assert len(incidents) == 1
