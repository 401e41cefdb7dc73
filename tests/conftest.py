"""What all tests share: long tests only when asked for, and no skip in silence."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Iterator

import pytest

# looptime asks for the current loop even in tests without one; asyncio would then make a loop that nobody closes
asyncio.set_event_loop(None)

# a shell without job control starts its background with SIGINT ignored, and commands under test inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ("tests.support.nix_store", "tests.support.lab_fixture")

FULL = os.environ.get("HIVE_FULL") == "1"
STRICT = os.environ.get("HIVE_STRICT") == "1"


def pytest_collection_finish() -> None:
    """Keep garbage collection away from what is there to the end: the tests in this process took 1.6 times as long."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long versions to `make test-full`; they are deselected, which the summary counts."""
    left_out = {"unprivileged"} if os.geteuid() == 0 else set()
    left_out |= set() if FULL else {"full"}
    others = [item for item in items if any(item.get_closest_marker(name) for name in left_out)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
    # the longest tests, which mostly wait: begun last, one of them would run alone at the end
    items.sort(key=lambda item: item.get_closest_marker("systemd") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With HIVE_STRICT=1 a skip is a failure."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):  # type: ignore[attr-defined]
        report.outcome = "failed"  # type: ignore[attr-defined]
        report.longrepr = f"skipped under HIVE_STRICT=1: {report.longrepr}"  # type: ignore[attr-defined]
    return report
