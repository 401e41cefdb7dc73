"""The plan is total, converges on a model from any state, and is empty afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta.model import (
    Candidate,
    DeployKind,
    Pin,
    RunEntry,
    RunState,
    TagState,
    Tombstone,
)
from meta.names import ProposalId
from meta.wire.link import TurnState
from reconciler.plan import steps
from reconciler.plan.observed import AgentObserved, Container, Exit, Launch, LinkView, Memo
from tests.support.plan_model import (
    CONFIG,
    NOW,
    SETTINGS,
    Model,
    deploy,
    entry,
    fresh_spawn,
    generation,
    running,
    sha,
)


def test_a_spawn_goes_through_every_step_of_the_commit_protocol_in_order() -> None:
    model = fresh_spawn()
    model.settle()
    assert model.done == [
        *("begin", "candidate", "build", "create", "furnish", "open-sockets", "switch", "start", "wait"),
        *("commit", "finish", "drop"),
    ]
    assert model.deploys[0].state is TagState.DEPLOYED


def test_an_approved_commit_drains_switches_and_is_committed_only_when_healthy() -> None:
    model = running()
    model.deploys[7] = deploy(7, TagState.APPROVED)
    model.settle()
    assert model.done == [
        *("begin", "candidate", "build", "drain", "stop", "switch", "start", "wait", "commit", "finish", "drop")
    ]
    assert model.entry is not None
    assert model.entry.pin.id == 7


def test_an_unhealthy_generation_is_failed_and_the_old_one_comes_back_through_the_gate() -> None:
    model = running()
    model.deploys[7] = deploy(7, TagState.APPROVED)
    model.bad = frozenset({7})
    decision = model.settle()
    assert model.deploys[7].state is TagState.FAILED
    assert model.seen.container.system == generation(0).id
    assert decision.phase == "running"
    assert model.seen.memo.rollback_from is None
    assert model.done.index("fail") < len(model.done) - 1 - model.done[::-1].index("start")


def test_a_rollback_whose_old_generation_is_unhealthy_too_ends_in_rollback_failed() -> None:
    model = running()
    model.deploys[7] = deploy(7, TagState.APPROVED)
    model.bad = frozenset({0, 7})
    assert model.settle().phase == "rollback-failed"
    starts = model.done.count("start")
    model.settle()
    assert model.done.count("start") == starts, "no further try"


def test_a_stopped_agent_is_built_and_set_but_not_started() -> None:
    model = running()
    model.run = RunEntry(RunState.STOPPED)
    model.settle()
    model.done.clear()
    model.deploys[7] = deploy(7, TagState.APPROVED)
    assert model.settle().phase == "stopped"
    assert "start" not in model.done
    assert model.seen.container.system == generation(7).id


def test_a_crash_is_counted_and_started_again_after_a_backoff() -> None:
    model = running()
    launch = model.seen.container.launch
    assert launch is not None
    model.container(pid=None, exit=Exit(launch.nonce, NOW, signal=9))
    model.set(link=LinkView())
    model.settle()
    assert model.done[:3] == ["count-crash", "wait", "start"]


def test_a_crash_loop_ends_in_failed_and_not_in_noise() -> None:
    model = running()
    for _ in range(CONFIG.crash_limit):
        launch = model.seen.container.launch
        assert launch is not None
        model.container(pid=None, exit=Exit(launch.nonce, NOW, code=1))
        model.set(link=LinkView())
        while model.seen.container.pid is None:
            decision = model.decide()
            if isinstance(decision.step, steps.Nothing):
                break
            model.do(decision.step)
    assert model.decide().phase == "failed"
    assert model.settle().reason.startswith("ended by itself 3 times")


def test_an_unknown_link_after_a_daemon_restart_is_waited_for_and_nothing_more() -> None:
    model = running()
    model.now = NOW + CONFIG.reconnect_grace / 2
    model.set(link=LinkView())
    decision = model.decide()
    assert decision.phase == "unknown"
    assert decision.step == steps.Wait(NOW + CONFIG.reconnect_grace + CONFIG.health_deadline)


def test_meta_restored_from_an_old_backup_holds_the_agent() -> None:
    model = running()
    model.set(foreign=frozenset({ProposalId(9)}))
    model.container(system=None)
    decision = model.settle()
    assert decision.phase == "disagrees"
    assert model.done == []


def test_a_container_without_the_marker_is_never_touched() -> None:
    model = running()
    model.container(ours=False)
    assert isinstance(model.decide().step, steps.Nothing)
    assert "did not make" in model.decide().reason


def test_a_second_death_in_one_step_fails_the_deploy() -> None:
    model = running()
    model.deploys[7] = deploy(7, TagState.BUILDING)
    model.memo(deaths={(ProposalId(7), "build"): 2})
    assert isinstance(model.decide().step, steps.Fail)


def test_a_destroyed_agent_is_drained_stopped_and_removed() -> None:
    model = running()
    model.entry, model.tombstone = None, Tombstone(600_000, Pin(ProposalId(0), sha(0)), purge=True)
    assert model.settle().phase == "absent"
    assert model.done == ["drain", "stop", "destroy", "purge"]


def test_after_the_commit_point_there_is_only_forward() -> None:
    model = running()
    model.deploys[7] = deploy(7, TagState.BUILDING)
    model.set(committed={**model.seen.committed, ProposalId(7): sha(807)})
    assert model.decide().step == steps.Finish(ProposalId(7), sha(807), False)


def failed_spawn(by: str = "hive", reason: str = "no space\nlast lines") -> Model:
    spawn = replace(deploy(0, TagState.FAILED, DeployKind.SPAWN), by=by, reason=reason)
    return Model(None, {0: spawn}, AgentObserved())


def test_a_spawn_that_hive_failed_stays_visible_with_its_reason_and_the_remedy() -> None:
    decision = failed_spawn().decide()
    assert (decision.phase, decision.reason) == ("failed", "its spawn 0 failed: no space")
    assert decision.conditions[1] == "`hive spawn alice` tries again, `hive destroy alice --purge` forgets it"


def test_a_purge_is_not_proposed_where_an_earlier_life_is_kept() -> None:
    model = failed_spawn()
    model.tombstone = Tombstone(600_000, Pin(ProposalId(0), sha(0)))
    assert model.decide().conditions[1] == "`hive spawn alice` tries again"


@pytest.mark.parametrize(("by", "reason"), [("operator uid 0", "x"), ("hive", "an agent named alice already exists")])
def test_a_spawn_that_was_ended_or_was_one_too_many_leaves_nothing_to_see(by: str, reason: str) -> None:
    assert failed_spawn(by, reason).decide().phase == "absent"


def test_a_failed_spawn_does_not_count_once_a_later_one_is_there() -> None:
    model = failed_spawn()
    model.deploys[4] = deploy(4, TagState.APPROVED, DeployKind.SPAWN)
    assert model.settle().phase == "running"


def test_a_drain_says_how_long_it_may_take() -> None:
    model = running()
    model.run = RunEntry(RunState.STOPPED)
    decision = model.decide()
    assert (decision.step.name, decision.phase) == ("drain", "draining")
    assert decision.conditions == (f"waits for its turn to end, at most {CONFIG.drain_deadline:g} s",)


numbers = st.integers(0, 2)
launches = st.builds(
    Launch,
    generation=numbers.map(lambda n: generation(n).id),
    fingerprint=st.sampled_from([SETTINGS.fingerprint(), "other"]),
    nonce=st.sampled_from(["a", "b"]),
    at=st.floats(0, 2_000),
    deploy=st.none() | numbers.map(ProposalId),
    restarts=st.integers(0, 1),
    rebuilds=st.integers(0, 1),
)
containers = st.builds(
    Container,
    exists=st.booleans(),
    ours=st.just(True),
    system=st.none() | numbers.map(lambda n: generation(n).id),
    fingerprint=st.none() | st.just(SETTINGS.fingerprint()),
    pid=st.none() | st.just(7),
    launch=st.none() | launches,
    exit=st.none() | st.builds(Exit, nonce=st.sampled_from(["a", "b"]), at=st.just(NOW), lost=st.booleans()),
)
links = st.builds(
    LinkView,
    connected=st.booleans(),
    since=st.floats(0, 1_000),
    generation=st.none() | numbers.map(lambda n: generation(n).id),
    nonce=st.none() | st.sampled_from(["a", "b"]),
    turn=st.none() | st.sampled_from(list(TurnState)),
    answered=st.booleans(),
    losses=st.integers(0, 4),
    drain_over=st.booleans(),
)
memos = st.builds(
    Memo,
    crashes=st.integers(0, 4),
    start_after=st.floats(0, 1_010),
    counted_exit=st.none() | st.sampled_from(["a", "b"]),
    expected_exit=st.none() | st.sampled_from(["a", "b"]),
    rollback_from=st.none() | numbers.map(ProposalId),
    rollback_failed=st.booleans(),
    healthy_nonce=st.none() | st.sampled_from(["a", "b"]),
    rebuilt=st.integers(0, 1),
    proven=st.lists(numbers.map(ProposalId), max_size=2).map(tuple),
)


@st.composite
def worlds(draw: st.DrawFn) -> Model:
    states = draw(st.dictionaries(numbers, st.sampled_from(list(TagState)), max_size=3))
    kinds = {key: draw(st.sampled_from(list(DeployKind))) for key in states}
    seen = AgentObserved(
        container=draw(containers),
        link=draw(links),
        memo=draw(memos),
        sockets=draw(st.booleans()),
        proposed=draw(st.booleans()),
        built={ProposalId(n): generation(n) for n in draw(st.sets(numbers))},
        candidates={ProposalId(n): Candidate(sha(900 + n), entry(n)) for n in draw(st.sets(numbers))},
        projected=draw(st.booleans()),
    )
    return Model(
        entry=draw(st.none() | numbers.map(entry)),
        deploys={
            key: replace(deploy(key, state, kinds[key]), unproven=draw(st.booleans())) for key, state in states.items()
        },
        seen=seen,
        run=RunEntry(draw(st.sampled_from(list(RunState))), draw(st.integers(0, 1)), draw(st.integers(0, 1))),
        bad=frozenset(draw(st.sets(numbers))),
    )


@given(worlds())
@settings(max_examples=300, deadline=None)
def test_the_plan_converges_from_any_state_and_is_empty_afterwards(model: Model) -> None:
    model.settle()
    assert isinstance(model.decide().step, steps.Nothing)
    open_states = {deploy.state for deploy in model.deploys.values()}
    assert not open_states & {TagState.APPROVED, TagState.BUILDING}, "every approved id ends"


@pytest.mark.full
@given(worlds())
@pytest.mark.timeout(600)
@settings(max_examples=20_000, deadline=None)
def test_the_plan_converges_from_any_state_at_length(model: Model) -> None:
    model.settle()


def test_an_agent_that_should_be_stopped_is_stopped_before_anything_is_repaired() -> None:
    model = running()
    model.run = RunEntry(RunState.STOPPED, rebuilds=1)
    model.set(sockets=False, built={})
    model.memo(rollback_failed=True)
    assert isinstance(model.decide().step, steps.Drain)
    model.set(link=replace(model.seen.link, drain_over=True))
    assert isinstance(model.decide().step, steps.Stop)


def test_a_launch_is_drained_once_however_often_its_harness_connects_again() -> None:
    model = running()
    model.run = RunEntry(restarts=1)
    model.set(link=replace(model.seen.link, drain_over=True, nonce="another", turn=TurnState.IDLE))
    assert isinstance(model.decide().step, steps.Stop)


def test_a_purge_that_was_promised_comes_before_a_spawn_of_the_same_name() -> None:
    model = running()
    model.entry, model.tombstone = None, Tombstone(600_000, Pin(ProposalId(0), sha(0)), purge=True)
    model.deploys[7] = deploy(7, TagState.APPROVED, DeployKind.SPAWN)
    model.deploys[0] = replace(model.deploys[0], state=TagState.DEPLOYED)
    model.settle()
    assert model.done.index("purge") < model.done.index("begin")


def test_a_destroyed_agent_whose_tags_disagree_goes_away_once_its_ids_are_given_up() -> None:
    model = running()
    model.set(foreign=frozenset({ProposalId(9)}))
    model.entry = None
    model.tombstone = Tombstone(600_000, Pin(ProposalId(0), sha(0)), disowned=frozenset({ProposalId(9)}))
    assert model.settle().phase == "absent"
    assert "destroy" in model.done


def test_a_peer_that_said_hello_once_is_never_taken_for_one_without_a_link() -> None:
    model = running()
    model.set(link=replace(model.seen.link, connected=False, legacy_at=NOW + 1, nonce="n1"))
    model.now = NOW + 1_000
    assert isinstance(model.decide().step, steps.CountCrash)
