"""The clock is set an hour back or forth: a harness that is silent is judged after its deadline, not an hour off."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from reconciler.observe.clock import Moments
from reconciler.plan import steps
from reconciler.plan.observed import Container, Launch, LinkView
from tests.support.plan_model import ALICE, CONFIG, generation, running

HOUR = 3600.0


@dataclass
class Time:
    """Two clocks; `set` is how far the wall clock was set."""

    passed: float = 0.0
    set: float = 0.0

    def wall(self) -> float:
        return 1_000_000.0 + self.passed + self.set

    def steady(self) -> float:
        return 5.0 + self.passed

    def moments(self) -> Moments:
        return Moments(self.wall, self.steady)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_how_long_ago_something_began_does_not_depend_on_how_the_clock_was_set(step: float) -> None:
    time = Time()
    moments, view = time.moments(), LinkView(since=time.wall(), legacy_at=time.wall())
    launch = Launch(generation(0).id, "f", "n", time.wall())
    container = Container(launch=launch)
    assert moments.link(ALICE, view) is view
    assert moments.container(ALICE, container) is container
    time.passed, time.set = 7.0, step
    assert time.wall() - moments.link(ALICE, view).since == 7.0
    assert moments.link(ALICE, view).legacy_at == moments.link(ALICE, view).since
    moved = moments.container(ALICE, container).launch
    assert moved == replace(launch, at=time.wall() - 7.0)


def test_what_began_after_the_clock_was_set_is_told_as_it_is() -> None:
    time = Time()
    moments = time.moments()
    moments.link(ALICE, LinkView(since=time.wall()))
    time.set = -HOUR
    later = LinkView(since=time.wall())
    assert moments.link(ALICE, later) is later
    assert moments.link(ALICE, LinkView()).since == 0.0, "never is never"


def test_a_clock_that_is_corrected_a_little_changes_nothing() -> None:
    time = Time()
    moments, view = time.moments(), LinkView(since=time.wall())
    moments.link(ALICE, view)
    time.set = 0.4
    assert moments.link(ALICE, view) is view


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_silent_harness_is_failed_at_its_deadline_though_the_clock_was_set(step: float) -> None:
    model, time = running(), Time()
    time.passed = model.now - time.wall()
    moments, lost = time.moments(), LinkView(since=time.wall())
    since = moments.corrected("daemon", "", time.wall() - 10 * CONFIG.reconnect_grace)
    moments.link(ALICE, lost)
    container = model.seen.container
    moments.container(ALICE, container)

    def look() -> steps.Step:
        model.now = time.wall()
        model.since = moments.corrected("daemon", "", since)
        model.set(link=moments.link(ALICE, lost), container=moments.container(ALICE, container))
        return model.decide().step

    time.set = step
    time.passed += CONFIG.health_deadline - 1
    assert isinstance(look(), steps.Wait)
    time.passed += 1
    assert isinstance(look(), steps.CountCrash)


def test_a_start_that_an_earlier_daemon_wrote_down_as_ahead_of_now_is_judged_from_now_on() -> None:
    time = Time()
    moments, launch = time.moments(), Launch(generation(0).id, "f", "n", time.wall() + HOUR)
    for passed in (0.0, 7.0):
        time.passed = passed
        seen = moments.container(ALICE, Container(launch=launch)).launch
        assert seen is not None
        assert time.wall() - seen.at == passed
