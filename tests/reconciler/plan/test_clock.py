"""The clock is set back an hour: nobody waits for it to catch up, and nothing that runs is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.model import TagState
from reconciler.plan import steps
from reconciler.plan.observed import Exit
from tests.support.plan_model import CONFIG, Model, deploy, running

HOUR = 3600.0


def crashed(times: int = 1) -> Model:
    """It has crashed, and its next start is awaited."""
    model = running()
    launch = model.seen.container.launch
    assert launch is not None
    model.container(pid=None, exit=Exit(launch.nonce, model.now, code=1))
    model.do(model.decide().step)
    model.memo(crashes=times, start_after=model.now + CONFIG.crash_backoff)
    assert isinstance(model.decide().step, steps.Wait)
    return model


def test_a_healthy_agent_is_left_alone() -> None:
    model = running()
    model.now -= HOUR
    decision = model.decide()
    assert isinstance(decision.step, steps.Nothing | steps.Wait)


def test_a_back_off_never_lasts_longer_than_the_longest_one() -> None:
    model = crashed()
    model.now -= HOUR
    assert model.decide().step.name == "start"


def test_a_back_off_that_is_in_bounds_is_kept() -> None:
    model = crashed(2)
    model.now -= CONFIG.crash_backoff
    step = model.decide().step
    assert isinstance(step, steps.Wait)
    assert step.until == model.seen.memo.start_after


@pytest.mark.parametrize("back", [HOUR, 100.0])
def test_a_new_generation_whose_harness_is_connected_passes_its_gate(back: float) -> None:
    model = running()
    model.deploys[7] = deploy(7, TagState.APPROVED)
    while model.decide().step.name != "start":
        model.do(model.decide().step)
    model.do(model.decide().step)
    launched = model.now
    model.now -= back
    assert model.seen.link.since >= launched
    for _ in range(20):
        step = model.decide().step
        if isinstance(step, steps.Nothing):
            break
        if isinstance(step, steps.Wait):
            assert step.until <= model.now + CONFIG.health_deadline
        model.do(step)
    assert model.deploys[7].state is TagState.DEPLOYED
    assert model.now < launched, "it was not waited for"


def test_a_silent_harness_is_still_judged_within_its_deadline_once_the_clock_goes_on() -> None:
    model = running()
    model.set(link=replace(model.seen.link, connected=False, since=model.now))
    model.now -= HOUR
    assert not isinstance(model.decide().step, steps.Stop | steps.CountCrash)
