"""Meta was restored from a backup, so the counters in run.json went back: that asks for nothing, and loses nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.model import RunEntry
from reconciler.plan import steps
from reconciler.plan.counters import next_rebuild, next_restart
from reconciler.plan.observed import AgentObserved, Container, Launch, Memo
from tests.support.plan_model import Model, generation, running


def many() -> Model:
    """It runs, after five restarts and three rebuilds."""
    model = running()
    model.run = RunEntry(restarts=5, rebuilds=3)
    model.settle()
    model.done.clear()
    return model


def test_a_counter_that_went_back_asks_for_nothing() -> None:
    model = many()
    model.run = RunEntry()
    assert isinstance(model.settle().step, steps.Nothing)
    assert model.done == []


def test_the_next_rebuild_after_that_is_a_rebuild() -> None:
    model = many()
    model.run = RunEntry()
    model.run = replace(model.run, rebuilds=next_rebuild(model.run, model.seen))
    model.settle()
    assert model.done.count("reapply") == model.done.count("start") == 1


def test_the_next_restart_after_that_is_a_restart() -> None:
    model = many()
    model.run = RunEntry()
    model.run = replace(model.run, restarts=next_restart(model.run, model.seen))
    model.settle()
    assert model.done.count("start") == 1
    assert "reapply" not in model.done


@pytest.mark.parametrize(
    ("in_meta", "done", "launched", "expected"), [(0, 0, None, 1), (2, 0, None, 3), (0, 4, 1, 5), (0, 1, 4, 5)]
)
def test_a_counter_is_always_higher_than_any_before(
    in_meta: int, done: int, launched: int | None, expected: int
) -> None:
    launch = None
    if launched is not None:
        launch = Launch(generation(0).id, "f", "n", 1.0, restarts=launched, rebuilds=launched)
    seen = AgentObserved(container=Container(launch=launch), memo=Memo(rebuilt=done))
    run = RunEntry(restarts=in_meta, rebuilds=in_meta)
    assert next_rebuild(run, seen) == expected
    assert next_restart(run, seen) == max(in_meta, launched or 0) + 1
