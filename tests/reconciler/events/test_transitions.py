"""Since when a phase holds, and the events that no step of its own tells: each once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from meta.config import Config
from meta.errors import TransientError
from meta.model import ContainerSettings, Generation, Role
from meta.names import AgentName, GenerationId, ProposalId, Sha
from meta.wire.link import About
from reconciler.events.feed import Events
from reconciler.events.transitions import Transitions
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved, Container, Exit, Launch, LinkView, Memo, Transient
from reconciler.store.database import Database

ALICE = AgentName("alice")
SETTINGS = ContainerSettings(Role.AGENT, 600_000)
GENERATION = Generation(GenerationId("a" * 20), ALICE, Sha("1" * 40), Path("/g"), SETTINGS.fingerprint(), "r")
LAUNCH = Launch(GENERATION.id, GENERATION.fingerprint, "n1", 900.0, restarts=1)
UP = AgentObserved(container=Container(exists=True, pid=7, launch=LAUNCH))


@dataclass
class Told:
    """A chronicle on a clock that a test moves, and what it told."""

    events: Events
    now: float = 1_000.0
    chronicle: Transitions = field(init=False)

    def __post_init__(self) -> None:
        self.chronicle = Transitions(self.events, Config(), lambda: self.now, self.now)

    async def do(self, step: steps.Step, seen: AgentObserved, deploy: int | None = None, why: str = "why") -> None:
        id = None if deploy is None else ProposalId(deploy)
        await self.chronicle.done(ALICE, Decision(step, why, "running", id), seen)

    async def kinds(self) -> list[str]:
        return [event.kind for event in await self.events.since(None)]


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    database = await Database.open(tmp_path / "db")
    events = Events(database)
    yield Told(events)
    await events.close()
    await database.close()


async def test_a_phase_begins_when_it_changes_and_looking_again_moves_nothing(told: Told) -> None:
    for now, phase, since in ((1000, "crashed", 1000), (1010, "running", 1010), (1500, "running", 1010)):
        told.now = now
        told.chronicle.note(ALICE, phase, UP)
        assert told.chronicle.since(ALICE) == since
    told.now = 2000
    told.chronicle.note(ALICE, "draining", UP)
    told.now = 2100
    told.chronicle.note(ALICE, "running", UP)
    assert told.chronicle.since(ALICE) == 2100


async def test_a_phase_that_a_daemon_finds_began_with_what_is_recorded_of_the_container(told: Told) -> None:
    told.chronicle.note(ALICE, "running", UP)
    assert told.chronicle.since(ALICE) == LAUNCH.at
    bob = AgentName("bob")
    ended = AgentObserved(container=Container(exists=True, launch=LAUNCH, exit=Exit("n1", 950.0)))
    told.chronicle.note(bob, "stopped", ended)
    assert told.chronicle.since(bob) == 950.0
    dora = AgentName("dora")
    told.chronicle.note(dora, "unknown", UP)
    told.chronicle.note(dora, "running", UP)
    assert told.chronicle.since(dora) == LAUNCH.at, "its link is back after a restart of the daemon"
    carol = AgentName("carol")
    told.chronicle.note(carol, "needs-login", UP)
    assert told.chronicle.since(carol) == told.now


async def test_a_restart_is_told_when_it_was_asked_for(told: Told) -> None:
    start = steps.Start(GENERATION, None, restarts=1, rebuilds=0)
    await told.do(start, UP)
    await told.do(start, AgentObserved())
    assert await told.kinds() == []
    await told.do(replace(start, restarts=2), UP)
    assert await told.kinds() == ["agent_restarted"]


async def test_an_unhealthy_launch_is_told_once(told: Told) -> None:
    count = steps.CountCrash(Exit("n1", told.now), "silent for too long")
    await told.do(count, UP)
    await told.do(count, UP)
    await told.do(steps.GiveUpRollback("flapping"), UP)
    (event,) = await told.events.since(None)
    assert (event.kind, event.data) == ("agent_unhealthy", {"reason": "silent for too long"})


async def test_a_crash_is_not_told_as_unhealthy(told: Told) -> None:
    gone = replace(UP, container=replace(UP.container, pid=None, exit=Exit("n1", 950.0, signal=9)))
    await told.do(steps.CountCrash(Exit("n1", 950.0, signal=9), "killed by signal 9"), gone)
    assert await told.kinds() == []


async def test_a_deploy_that_fails_at_its_gate_is_told_as_unhealthy_and_another_one_not(told: Told) -> None:
    tried = replace(UP, container=replace(UP.container, launch=replace(LAUNCH, deploy=ProposalId(7))))
    told.now = LAUNCH.at + 1_000
    fail = steps.Fail(ProposalId(7), "no harness connected", touched=True)
    await told.do(fail, UP, 7)
    await told.do(replace(fail, touched=False), tried, 7)
    assert await told.kinds() == []
    await told.do(fail, tried, 7)
    assert await told.kinds() == ["agent_unhealthy"]


async def test_what_was_lost_is_told_as_repaired_but_not_what_a_deploy_or_a_daemon_makes(told: Told) -> None:
    sockets = steps.OpenSockets(SETTINGS)
    switch = steps.Switch(GENERATION, SETTINGS)
    await told.do(sockets, UP)  # the first ones of this daemon
    await told.do(steps.MakeDirectories(SETTINGS), UP, 7)
    await told.do(switch, replace(UP, memo=Memo(rollback_from=ProposalId(7))))
    await told.do(switch, replace(UP, memo=Memo(transient=Transient.SWITCHING)))
    assert await told.kinds() == []
    await told.do(sockets, UP, why="its sockets are not there")
    await told.do(steps.MakeDirectories(SETTINGS), UP, why="the work tree is missing")
    events = await told.events.since(None)
    assert [(event.kind, event.data["what"]) for event in events] == [
        ("repaired", "its sockets are not there"),
        ("repaired", "the work tree is missing"),
    ]


async def test_a_disagreement_is_told_once_even_by_the_next_daemon(told: Told) -> None:
    held = Decision(steps.Nothing(), "held", "disagrees")
    seen = replace(UP, foreign=frozenset({ProposalId(9)}))
    await told.chronicle.held(ALICE, Decision(steps.Nothing(), "fine", "running"), UP)
    await told.chronicle.held(ALICE, held, seen)
    await told.chronicle.held(ALICE, held, seen)
    await Told(told.events).chronicle.held(ALICE, held, seen)
    (event,) = await told.events.since(None)
    assert (event.kind, event.data) == ("agent_disagrees", {"ids": [9]})


async def test_a_cli_that_does_not_start_is_told_once_for_each_start_of_the_container(told: Told) -> None:
    fine = Decision(steps.Nothing(), "fine", "parked")

    def seen(nonce: str, problem: str, *, launch: str = "n1", connected: bool = True) -> AgentObserved:
        link = LinkView(connected=connected, nonce=nonce, about=About(runtime="codex", problem=problem))
        return replace(UP, container=replace(UP.container, launch=replace(LAUNCH, nonce=launch)), link=link)

    for view in (seen("n1", ""), seen("n1", "it is missing", connected=False), UP):
        await told.chronicle.held(ALICE, fine, view)
    assert await told.kinds() == []
    for _ in range(2):
        await told.chronicle.held(ALICE, fine, seen("n1", "it is missing"))
        await told.chronicle.held(ALICE, fine, seen("n1", ""))
    await Told(told.events).chronicle.held(ALICE, fine, seen("n1", "it is missing"))
    (event,) = await told.events.since(None)
    assert (event.kind, event.data) == ("agent_cli_missing", {"runtime": "codex", "problem": "it is missing"})
    for number in range(9):
        await told.chronicle.held(ALICE, fine, seen(f"a nonce that another process made up {number}", "it is missing"))
    assert await told.kinds() == ["agent_cli_missing"]
    await told.chronicle.held(ALICE, fine, seen("n2", "it is missing", launch="n2"))
    assert await told.kinds() == ["agent_cli_missing"] * 2


async def test_an_error_is_told_with_its_step(told: Told) -> None:
    await told.chronicle.stuck(ALICE, "start", TransientError("no space", "free some"))
    (event,) = await told.events.since(None)
    assert (event.kind, event.data) == ("reconcile_error", {"step": "start", "error": "no space"})
