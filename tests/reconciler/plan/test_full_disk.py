"""The rules for an agent that holds too much of the disk, and for a stop that could not be recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.model import RunState
from reconciler.plan import steps
from reconciler.plan.observed import DiskUse
from tests.support.plan_model import running

BELOW = DiskUse(9 * 2**20, 10 * 2**20)
OVER = DiskUse(11 * 2**20, 10 * 2**20)
HIDDEN = DiskUse(2**20, 10 * 2**20, complete=False)


def test_an_agent_above_its_limit_is_stopped_before_anything_is_written_about_it() -> None:
    model = running()
    model.set(disk=OVER, projected=False)
    assert isinstance(model.decide().step, steps.Stop)


def test_it_is_held_with_what_it_has_and_its_limit_and_starts_when_it_has_less() -> None:
    model = running()
    model.set(disk=OVER)
    decision = model.settle()
    assert decision.phase == "over-disk"
    assert "its files have 11.0 MiB, the limit is 10.0 MiB (measured, not enforced)" in decision.conditions[0]

    model.set(disk=BELOW)

    assert model.settle().phase == "running"
    assert model.seen.memo.crashes == 0


@pytest.mark.parametrize(("use", "phase"), [(HIDDEN, "running"), (replace(HIDDEN, suspect=True), "over-disk")])
def test_an_agent_that_cannot_be_counted_is_stopped_only_if_the_disk_is_full(use: DiskUse, phase: str) -> None:
    model = running()
    model.set(disk=use)
    assert model.settle().phase == phase


def test_an_agent_that_cannot_be_counted_is_not_said_to_exceed_its_limit() -> None:
    model = running()
    model.set(disk=replace(HIDDEN, suspect=True))
    reasons = [model.decide().reason]
    decision = model.settle()
    reasons += [decision.reason, *decision.conditions]
    assert all("cannot all be counted" in reason for reason in reasons)
    assert not any("exceed" in reason or "the limit is" in reason for reason in reasons)


def test_a_stopped_agent_above_its_limit_is_stopped() -> None:
    model = running()
    model.run = replace(model.run, state=RunState.STOPPED)
    model.set(disk=OVER)
    assert model.settle().phase == "stopped"


def test_a_stop_that_could_not_be_recorded_is_done_and_reported() -> None:
    model = running()
    model.set(stop_asked=True, projected=False)
    model.do(model.decide().step)
    model.do(model.decide().step)
    model.set(projected=True)
    decision = model.settle()
    assert (decision.phase, model.seen.container.running) == ("stopped", False)
    assert "is not recorded" in decision.conditions[0]


def test_a_container_that_is_not_hives_is_left_alone() -> None:
    model = running()
    model.container(ours=False)
    model.set(disk=OVER)
    assert isinstance(model.decide().step, steps.Nothing)
