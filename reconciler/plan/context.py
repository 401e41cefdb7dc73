"""What the rules of the plan look at for one agent, and how they answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from meta.config import Config
from meta.model import AgentEntry, ContainerSettings, Deploy, Generation, RunEntry, TagState, Tombstone
from meta.names import AgentName, ProposalId, Sha
from reconciler.plan import health, steps
from reconciler.plan.observed import AgentObserved
from reconciler.plan.phase import phase


@dataclass(frozen=True, slots=True)
class Outdated:
    """An agent that was built with another hive (`built`) than a rebuild would be now (`now`)."""

    built: str
    now: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step of one agent, the reason in words, and the phase that people see."""

    step: steps.Step
    reason: str
    phase: str
    deploy: ProposalId | None = None
    conditions: tuple[str, ...] = ()
    outdated: Outdated | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """One agent at one moment: desired (entry, tombstone, run), observed, its deploys, and the clock."""

    name: AgentName
    head: Sha
    entry: AgentEntry | None
    tombstone: Tombstone | None
    run: RunEntry
    seen: AgentObserved
    deploys: tuple[Deploy, ...]
    now: float
    daemon_since: float
    config: Config
    revision: str = ""

    def do(
        self,
        step: steps.Step,
        reason: str,
        deploy: Deploy | None = None,
        *,
        phase: str | None = None,
        conditions: tuple[str, ...] = (),
    ) -> Decision:
        """The answer `step`, with the phase derived from it unless given."""
        shown = phase or self.phase(step)
        if deploy is not None:
            conditions = (f"deploying {deploy.id}: {step.name}", *conditions)
        return Decision(step, reason, shown, deploy.id if deploy else None, conditions)

    def nothing(self, reason: str, *, phase: str | None = None, conditions: tuple[str, ...] = ()) -> Decision:
        """The answer that there is nothing to do."""
        return self.do(steps.Nothing(), reason, phase=phase, conditions=conditions)

    def phase(self, step: steps.Step) -> str:
        """The one word for this agent while `step` is next."""
        return phase(self.seen, self.run.state, step, self.judge(), self.now, self.daemon_since, self.config)

    def judge(self) -> health.Verdict:
        """The health gate's verdict on the present launch."""
        return health.judge(
            self.seen.container, self.seen.link, now=self.now, daemon_since=self.daemon_since, config=self.config
        )

    def built(self, proposal: ProposalId, sha: Sha, settings: ContainerSettings) -> Generation | None:
        """The generation that `proposal` was built into, if it still fits the commit and the settings."""
        generation = self.seen.built.get(proposal)
        if generation is None or generation.sha != sha or generation.fingerprint != settings.fingerprint():
            return None
        return generation

    def outdated(self) -> Outdated | None:
        """Whether another hive built what meta says; None also while it is not built or `revision` is unknown."""
        pin = self.entry.pin if self.entry is not None else None
        generation = self.seen.built.get(pin.id) if pin is not None else None
        if generation is None or not self.revision or generation.revision == self.revision:
            return None
        return Outdated(generation.revision, self.revision)

    def unproven(self) -> ProposalId | None:
        """The pinned id, while what it was built into was never through the health gate; else None.

        It was deployed while the agent was stopped: built and set, not started. Its first start is its gate.
        """
        pin = self.entry.pin.id if self.entry is not None else None
        return next((deploy.id for deploy in self.deploys if deploy.id == pin and self._owes(deploy)), None)

    def last_proven(self) -> ProposalId | None:
        """The newest deployed id with another commit than the pinned one that was through the health gate."""
        pin = self.entry.pin.sha if self.entry is not None else None
        done = (deploy for deploy in self.deploys if deploy.state is TagState.DEPLOYED and deploy.sha != pin)
        return max((deploy.id for deploy in done if not self._owes(deploy)), default=None)

    def _owes(self, deploy: Deploy) -> bool:
        deployed = deploy.state is TagState.DEPLOYED
        return deployed and deploy.unproven and deploy.id not in self.seen.memo.proven

    def furnish(self, settings: ContainerSettings, deploy: Deploy | None) -> Decision | None:
        """What the host must have before a container can start."""
        if not self.seen.container.exists:
            return self.do(steps.Create(settings), "there is no container", deploy)
        if not self.seen.proposed:
            return self.do(steps.Furnish(settings), "the proposed work tree or its push.git is missing", deploy)
        if not self.seen.sockets:
            return self.do(steps.OpenSockets(settings), "its sockets are not there", deploy)
        return None

    def drain_and_stop(self, transient: str, why: str, deploy: Deploy | None) -> Decision:
        """Drain to a turn boundary first, while a harness is there that can; then stop."""
        link, launch = self.seen.link, self.seen.container.launch
        drained = link.turn is not None and link.turn == "drained"
        if link.connected and not drained and not link.drain_over:
            seconds = self.config.drain_deadline
            waits = (f"waits for its turn to end, at most {seconds:g} s",)
            return self.do(steps.Drain(seconds), why, deploy, phase="draining", conditions=waits)
        back_by = self.daemon_since + self.config.reconnect_grace
        proven = launch is not None and launch.nonce == self.seen.memo.healthy_nonce
        if proven and not link.connected and not link.drain_over and self.now < back_by:
            return self.do(steps.Wait(back_by), f"{why}; its harness may be in a turn and not back yet", deploy)
        nonce = launch.nonce if launch else ""
        return self.do(steps.Stop(transient, nonce), why, deploy)
