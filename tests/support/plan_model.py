"""A model of one agent's host that carries out the plan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from meta.config import Config
from meta.model import (
    AgentEntry,
    Candidate,
    ContainerSettings,
    Deploy,
    DeployKind,
    Desired,
    Generation,
    Pin,
    Role,
    RunEntry,
    TagState,
    Tombstone,
)
from meta.names import AgentName, GenerationId, ProposalId, Sha
from meta.wire.link import TurnState
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved, Container, Exit, Launch, LinkView, Memo, Observed
from reconciler.plan.phases import PHASES
from reconciler.plan.plan import plan

ALICE = AgentName("alice")
CONFIG = Config(health_deadline=10.0, health_stable=1.0, crash_limit=3, crash_backoff=1.0)
SETTINGS = ContainerSettings(Role.AGENT, 600_000)
NOW = 1_000.0


def sha(number: int) -> Sha:
    return Sha(f"{number:040x}")


def generation(number: int) -> Generation:
    id = GenerationId(f"{number:020x}")
    return Generation(id, ALICE, sha(number), Path("/g") / id, SETTINGS.fingerprint(), "r")


def entry(number: int) -> AgentEntry:
    return AgentEntry(Pin(ProposalId(number), sha(number)), SETTINGS)


def deploy(number: int, state: TagState, kind: DeployKind = DeployKind.APPLY_COMMIT) -> Deploy:
    return Deploy(ALICE, ProposalId(number), kind, state, sha(number), None, sha(number), "t", "", 1, "operator")


@dataclass
class Model:
    """A host that carries out each step. `bad` names generations that are never healthy."""

    entry: AgentEntry | None
    deploys: dict[int, Deploy]
    seen: AgentObserved
    run: RunEntry = field(default_factory=RunEntry)
    tombstone: Tombstone | None = None
    bad: frozenset[int] = frozenset()
    now: float = NOW
    since: float = NOW
    done: list[str] = field(default_factory=list)
    launches: int = 0
    goes_down: bool = False

    def decide(self) -> Decision:
        desired = Desired(
            sha(0),
            {ALICE: self.entry} if self.entry else {},
            {ALICE: self.tombstone} if self.tombstone else {},
            {ALICE: self.run},
        )
        observed = Observed({ALICE: self.seen}, self.since, goes_down=self.goes_down)
        ordered = tuple(self.deploys[key] for key in sorted(self.deploys))
        return plan(desired, observed, {ALICE: ordered}, self.now, CONFIG).decisions[ALICE]

    def set(self, **changes: object) -> None:
        self.seen = replace(self.seen, **changes)  # type: ignore[arg-type]

    def container(self, **changes: object) -> None:
        self.set(container=replace(self.seen.container, **changes))  # type: ignore[arg-type]

    def memo(self, **changes: object) -> None:
        self.set(memo=replace(self.seen.memo, **changes))  # type: ignore[arg-type]

    def move(self, id: int, state: TagState) -> None:
        self.deploys[id] = replace(self.deploys[id], state=state)

    def do(self, step: steps.Step) -> None:  # noqa: C901 - one case per step
        self.done.append(step.name)
        seen = self.seen
        match step:
            case steps.Wait(until=until):
                assert until > self.now, "a wait lies ahead"
                self.now = until
            case steps.Project():
                self.set(projected=True)
            case steps.Preview(id=id):
                assert seen.previewed is not None
                self.set(previewed=seen.previewed | {id})
            case steps.Begin(id=id):
                self.move(id, TagState.BUILDING)
            case steps.MakeCandidate(id=id):
                self.set(candidates={**seen.candidates, id: Candidate(sha(900 + id), entry(id))})
            case steps.Build(id=id):
                self.set(built={**seen.built, id: generation(id)})
            case steps.Reapply(id=id, rebuilds=rebuilds):
                self.set(built={**seen.built, id: generation(id)})
                self.memo(rebuilt=rebuilds)
            case steps.Create():
                self.container(exists=True)
            case steps.MakeDirectories():
                self.set(proposed=True)
            case steps.OpenSockets():
                self.set(sockets=True)
            case steps.Drain():
                self.set(link=replace(seen.link, turn=TurnState.DRAINED))
            case steps.Stop(transient=transient, nonce=nonce):
                self.memo(transient=transient, expected_exit=nonce)
                self.container(pid=None, exit=Exit(nonce, self.now, code=0))
                self.set(link=LinkView())
            case steps.Switch(generation=made):
                self.container(system=made.id, fingerprint=made.fingerprint)
            case steps.Start(generation=made, deploy=id):
                self._start(made, id, step)
            case steps.Commit(id=id, entry=made_entry, proven=proven):
                self.entry = made_entry
                self.tombstone = None
                self.set(committed={**seen.committed, id: sha(800 + id)})
                launch = seen.container.launch
                healthy = launch.nonce if launch is not None and proven else None
                self.memo(crashes=0, rollback_from=None, rollback_failed=False, healthy_nonce=healthy)
            case steps.Finish(id=id, unproven=unproven):
                self.deploys[id] = replace(self.deploys[id], state=TagState.DEPLOYED, unproven=unproven)
            case steps.Drop(id=id):
                self.set(candidates={key: value for key, value in seen.candidates.items() if key != id})
                if self.deploys[id].state is TagState.DENIED:
                    self.set(built={key: value for key, value in seen.built.items() if key != id})
            case steps.Fail(id=id, touched=touched):
                self.move(id, TagState.FAILED)
                if touched:
                    self.memo(rollback_from=id)
            case steps.CountCrash(exit=ended):
                self.memo(crashes=seen.memo.crashes + 1, counted_exit=ended.nonce, start_after=self.now + 1.0)
            case steps.MarkHealthy(nonce=nonce, proves=proves):
                self.memo(healthy_nonce=nonce, rollback_from=None)
                self.memo(proven=self.seen.memo.proven if proves is None else (*self.seen.memo.proven, proves))
            case steps.ForgetCrashes():
                self.memo(crashes=0, excused=0, start_after=0.0)
            case steps.GiveUpRollback():
                self.memo(rollback_failed=True)
            case steps.Destroy():
                self.set(container=Container(), sockets=False, memo=Memo())
            case steps.Purge():
                self.tombstone = None
            case _:
                raise AssertionError(f"the model does not know {step}")

    def _start(self, made: Generation, id: ProposalId | None, step: steps.Start) -> None:
        self.launches += 1
        nonce = f"n{self.launches}"
        launch = Launch(made.id, made.fingerprint, nonce, self.now, id, step.restarts, step.rebuilds)
        self.container(pid=100 + self.launches, launch=launch)
        healthy = int(made.id, 16) not in self.bad
        self.set(link=LinkView(True, self.now, made.id, nonce, TurnState.IDLE, healthy) if healthy else LinkView())

    def settle(self, limit: int = 120) -> Decision:
        for _ in range(limit):
            decision = self.decide()
            assert decision.phase in PHASES
            assert decision.reason
            if isinstance(decision.step, steps.Nothing):
                return decision
            self.do(decision.step)
        raise AssertionError(f"no rest after {limit} steps: {self.done[-12:]}")


def fresh_spawn() -> Model:
    return Model(None, {0: deploy(0, TagState.APPROVED, DeployKind.SPAWN)}, AgentObserved())


def running(number: int = 0) -> Model:
    model = fresh_spawn()
    model.deploys = {number: deploy(number, TagState.APPROVED, DeployKind.SPAWN)}
    model.settle()
    model.done.clear()
    return model
