"""The commit that an agent runs with: what meta pins, and during a deploy the candidate's from its start on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from meta.model import AgentEntry, Deploy, DeployKind, TagState
from meta.names import AgentName, GenerationId, ProposalId, Sha
from reconciler.observe.commits import RunningCommits
from reconciler.observe.roster import Roster
from reconciler.plan.observed import Container, Launch

ALICE = AgentName("alice")
OLD, NEW = Sha("a" * 40), Sha("b" * 40)
LAUNCH = Launch(GenerationId("g"), "f", "n", 0.0)
CANDIDATE = replace(LAUNCH, deploy=ProposalId(7))


def deploy(state: TagState) -> Deploy:
    return Deploy(ALICE, ProposalId(7), DeployKind.APPLY_COMMIT, state, NEW, OLD, "main", "x", "", 0, "alice")


def roster(*deploys: Deploy) -> Roster:
    entry = cast("AgentEntry", SimpleNamespace(pin=SimpleNamespace(sha=OLD)))
    made = Roster(lambda: {ALICE: entry})
    made.note(ALICE, deploys)
    return made


def test_it_is_what_meta_pins_until_the_candidate_starts() -> None:
    agents = roster(deploy(TagState.BUILDING))
    commits = RunningCommits(agents, lambda _: Container(launch=LAUNCH))
    assert commits.of(ALICE) == OLD
    commits.begin(ALICE, CANDIDATE)
    assert commits.of(ALICE) == NEW


def test_it_is_what_meta_pins_again_as_soon_as_the_candidate_failed() -> None:
    agents = roster(deploy(TagState.BUILDING))
    commits = RunningCommits(agents, lambda _: Container(launch=CANDIDATE))
    commits.begin(ALICE, CANDIDATE)
    agents.note(ALICE, [deploy(TagState.FAILED)])
    assert commits.of(ALICE) == OLD
    commits.begin(ALICE, LAUNCH)
    assert commits.of(ALICE) == OLD


def test_a_daemon_that_starts_during_a_health_gate_knows_it_from_what_runs() -> None:
    agents = roster(deploy(TagState.BUILDING))
    assert RunningCommits(agents, lambda _: Container(launch=CANDIDATE)).of(ALICE) == NEW
    assert RunningCommits(agents, lambda _: Container()).of(ALICE) == OLD


def test_an_agent_that_does_not_exist_runs_with_none_and_a_destroyed_one_is_forgotten() -> None:
    agents = roster(deploy(TagState.BUILDING))
    commits = RunningCommits(agents, lambda _: Container())
    assert commits.of(AgentName("bob")) is None
    commits.begin(ALICE, CANDIDATE)
    commits.forget(ALICE)
    assert commits.of(ALICE) == OLD
