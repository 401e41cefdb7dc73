"""What was deployed while the agent was stopped was never started: its first start is its health gate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.model import DeployKind, RunEntry, RunState, TagState
from meta.names import ProposalId
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import Exit, LinkView
from tests.support.plan_model import CONFIG, Model, deploy, generation, running, sha

SEVEN = ProposalId(7)


def set_while_stopped(bad: frozenset[int] = frozenset()) -> Model:
    """Id 7 was deployed while the agent was stopped; now it should run."""
    model = running()
    model.bad = bad
    model.run = RunEntry(RunState.STOPPED)
    model.deploys[7] = deploy(7, TagState.APPROVED)
    decision = model.settle()
    assert model.deploys[7].unproven
    assert (decision.phase, decision.conditions) == ("stopped", ("7 is unproven, not started yet",))
    assert model.seen.memo.healthy_nonce is None
    model.run = RunEntry(RunState.RUNNING)
    model.done.clear()
    return model


def exits(model: Model, code: int = 3) -> None:
    """The launch ends by itself."""
    launch = model.seen.container.launch
    assert launch is not None
    model.container(pid=None, exit=Exit(launch.nonce, model.now, code=code))
    model.set(link=LinkView())


def started(model: Model) -> None:
    while "start" not in model.done:
        model.do(model.decide().step)


def held(model: Model) -> Decision:
    decision = model.settle()
    assert decision.phase == "failed"
    assert not model.seen.container.running
    assert decision.conditions[0] == "its first start after deploy 7 failed"
    return decision


def test_the_first_start_is_for_the_gate_of_that_id_and_proves_it() -> None:
    model = set_while_stopped()
    started(model)
    launch = model.seen.container.launch
    assert launch is not None
    assert launch.deploy == SEVEN
    assert model.decide().conditions == ("7 is unproven, in the health gate of its first start",)
    decision = model.settle()
    assert (decision.phase, decision.conditions) == ("running", ())
    assert model.seen.memo.proven == (SEVEN,)
    assert model.done.count("mark-healthy") == 1


def test_one_that_exits_in_its_gate_is_held_after_one_start_with_the_way_back() -> None:
    model = set_while_stopped()
    started(model)
    exits(model)
    decision = model.decide()
    assert decision.step == steps.CountCrash(
        Exit("n2", model.now, code=3), "its first start after deploy 7 failed: exited with code 3", last=True
    )
    decision = held(model)
    assert "`hive rollback alice 0` goes back, `hive restart alice` tries again" in decision.reason
    assert model.done.count("start") == 1


def test_one_that_is_silent_in_its_gate_is_stopped_and_held() -> None:
    model = set_while_stopped(bad=frozenset({7}))
    held(model)
    assert model.done.count("start") == model.done.count("stop") == 1


def test_a_rollback_from_it_goes_through_the_gate_and_ends_the_hold() -> None:
    model = set_while_stopped(bad=frozenset({7}))
    held(model)
    model.deploys[8] = replace(deploy(8, TagState.APPROVED, DeployKind.ROLLBACK), sha=sha(8))
    assert model.settle().phase == "running"
    assert model.seen.container.system == generation(8).id
    assert not model.deploys[8].unproven


def test_after_a_deploy_on_top_of_it_failed_too_neither_of_them_runs() -> None:
    model = set_while_stopped(bad=frozenset({7, 8}))
    held(model)
    model.deploys[8] = deploy(8, TagState.APPROVED)
    held(model)
    assert model.deploys[8].state is TagState.FAILED


def test_the_way_back_never_leads_to_another_that_was_never_started() -> None:
    model = set_while_stopped()
    model.run = RunEntry(RunState.STOPPED)
    model.deploys[9] = deploy(9, TagState.APPROVED)
    model.settle()
    model.run = RunEntry()
    model.done.clear()
    started(model)
    exits(model)
    assert "`hive rollback alice 0` goes back" in model.settle().reason


def test_once_it_was_healthy_a_crash_is_a_crash() -> None:
    model = set_while_stopped()
    model.settle()
    exits(model)
    decision = model.decide()
    assert isinstance(decision.step, steps.CountCrash)
    assert not decision.step.last
    assert model.settle().phase == "running"


def test_an_end_that_is_nobodys_fault_is_no_failure_of_the_gate() -> None:
    model = set_while_stopped()
    started(model)
    launch = model.seen.container.launch
    assert launch is not None
    model.container(pid=None, launch=replace(launch, at=1.0), exit=Exit(launch.nonce, model.now, lost=True))
    model.set(link=LinkView())
    assert model.settle().phase == "running"


def test_what_ran_well_before_hive_kept_this_is_proven_and_left_alone() -> None:
    model = running()
    model.deploys[0] = replace(model.deploys[0], unproven=True)
    decision = model.settle()
    assert model.done == ["mark-healthy"]
    assert (decision.phase, model.seen.memo.proven) == ("running", (ProposalId(0),))


# the commit
def in_gate() -> Model:
    model = running()
    model.deploys[7] = deploy(7, TagState.APPROVED)
    started(model)
    return model


def test_a_stop_in_the_gate_leaves_it_unproven() -> None:
    model = in_gate()
    model.run = RunEntry(RunState.STOPPED)
    model.settle()
    assert model.deploys[7].state is TagState.DEPLOYED
    assert model.deploys[7].unproven


@pytest.mark.parametrize("state", list(RunState))
def test_what_was_committed_while_it_was_stopped_is_unproven_whatever_comes_before_its_tag(state: RunState) -> None:
    model = in_gate()
    model.run = RunEntry(RunState.STOPPED)
    while "commit" not in model.done:
        model.do(model.decide().step)
    model.run = RunEntry(state)
    step = model.decide().step
    assert isinstance(step, steps.Finish)
    assert step.unproven


@pytest.mark.parametrize("state", list(RunState))
@pytest.mark.parametrize("killed", [False, True])
def test_what_was_committed_healthy_is_not_unproven_whatever_comes_before_its_tag(
    state: RunState, killed: bool
) -> None:
    model = in_gate()
    while "commit" not in model.done:
        model.do(model.decide().step)
    if killed:  # after the commit, before it was remembered
        model.memo(healthy_nonce=None)
    model.run = RunEntry(state)
    step = model.decide().step
    assert isinstance(step, steps.Finish)
    assert not step.unproven


# given up
def test_the_last_crash_says_that_it_is_the_last() -> None:
    model = running()
    said = []
    for _ in range(CONFIG.crash_limit):
        exits(model)
        step = model.decide().step
        assert isinstance(step, steps.CountCrash)
        said.append(step.last)
        while not model.seen.container.running and not isinstance(model.decide().step, steps.Nothing):
            model.do(model.decide().step)
    assert said == [False] * (CONFIG.crash_limit - 1) + [True]
