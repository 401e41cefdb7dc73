"""A hive that goes down: everything is stopped, nothing begins, and the next daemon goes on where this one ended."""

from __future__ import annotations

import itertools

from meta.model import RunEntry, RunState, TagState
from reconciler.plan import steps
from tests.support.plan_model import Model, deploy, fresh_spawn, running


def go_down(model: Model) -> None:
    model.goes_down = True
    assert model.settle().phase in ("stopped", "starting", "switching")
    assert not model.seen.container.running


def come_up(model: Model) -> str:
    model.goes_down = False
    return model.settle().phase


def test_what_runs_is_drained_and_stopped_and_the_next_daemon_starts_it() -> None:
    model = running()
    go_down(model)
    assert model.done == ["drain", "stop"]
    assert come_up(model) == "running"
    assert model.seen.memo.crashes == 0


def test_what_was_stopped_stays_stopped() -> None:
    model = running()
    model.run = RunEntry(RunState.STOPPED)
    model.settle()
    go_down(model)
    assert come_up(model) == "stopped"


def test_a_deploy_is_interrupted_at_any_step_and_gates_with_the_next_daemon() -> None:
    for number in itertools.count():
        model = running()
        model.deploys[7] = deploy(7, TagState.APPROVED)
        for _ in range(number):
            step = model.decide().step
            if isinstance(step, steps.Nothing):
                assert number > 8
                return
            model.do(step)
        state = model.deploys[7].state
        go_down(model)
        assert model.deploys[7].state is state, "nothing is decided meanwhile"
        assert come_up(model) == "running"
        assert (model.deploys[7].state, model.deploys[7].unproven) == (TagState.DEPLOYED, False)


def test_a_spawn_is_interrupted_at_any_step() -> None:
    for number in itertools.count():
        model = fresh_spawn()
        for _ in range(number):
            step = model.decide().step
            if isinstance(step, steps.Nothing):
                return
            model.do(step)
        model.goes_down = True
        model.settle()
        assert not model.seen.container.running
        assert come_up(model) == "running"
