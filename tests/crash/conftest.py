"""A hive that the cells of one worker share: each leaves it as it was, and one that fails throws it away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.support.lab import Lab, fresh_lab

FAILED = pytest.StashKey[bool]()
SETTINGS = {"HIVE_HEALTH_DEADLINE": "6"}
"""A busy machine must not make a healthy harness late; no cell of the short run waits for it."""


def pytest_configure(config: pytest.Config) -> None:
    pytest.register_assert_rewrite("tests.crash.agreement", "tests.crash.cell")
    config.pluginmanager.import_plugin("tests.crash.report")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note a failure for the fixtures."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        item.stash[FAILED] = True
    return report


class Hives:
    """At most one hive, made when one is asked for."""

    def __init__(self) -> None:
        self._lab: Lab | None = None
        self._stack = contextlib.ExitStack()

    def take(self) -> Lab:
        """The hive: manager, alice and bob run, nothing is to be done."""
        if self._lab is None:
            self._lab = self._stack.enter_context(fresh_lab("x", SETTINGS, previews=True))
            self._lab.spawn("alice", "bob")
        return self._lab

    def discard(self) -> None:
        """End it; the next one is new."""
        self._lab = None
        self._stack.close()


@pytest.fixture(scope="session")
def hives() -> Iterator[Hives]:
    made = Hives()
    yield made
    made.discard()


@pytest.fixture
def lab(hives: Hives, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The shared hive, in place of the fixture that a marker chooses."""
    taken = hives.take()
    yield taken
    restored = (taken.directory / "backup").exists()  # its history has gaps, which the next cell would find
    if restored or request.node.stash.get(FAILED, False):
        hives.discard()


@pytest.fixture
def seen(record_property: Callable[[str, object], None]) -> Callable[[str, str, int, str], None]:
    """Note for the table: a kill (or so many) at a failpoint of a scenario, and how that ended."""

    def note(scenario: str, failpoint: str, kills: int, outcome: str) -> None:
        record_property("crash", [scenario, failpoint, kills, outcome])

    return note
