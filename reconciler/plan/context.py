"""The facts about one agent that the rules of the plan read, and the decision that they return. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from meta.config import Config
from meta.model import AgentEntry, ContainerSettings, Deploy, Generation, RunEntry, TagState, Tombstone
from meta.names import AgentName, ProposalId, Sha
from reconciler.plan import health, steps
from reconciler.plan.observed import AgentObserved
from reconciler.plan.origin import origins
from reconciler.plan.phase import phase
from reconciler.plan.revisions import agrees, revision_of


@dataclass(frozen=True, slots=True)
class Outdated:
    """An agent that another hive built, or that was built on another nixpkgs or with other modules for every agent.

    `built` is the revision that was recorded, `now` the one that a rebuild would record.
    """

    built: str
    now: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step of one agent, its reason in words, and the phase that users see.

    `remedy`: what an operator does about it, if hive does not bring the agent up by itself.
    `look_at`: something has to be done at this time if nothing changes until then, although there is no step now.
    """

    step: steps.Step
    reason: str
    phase: str
    deploy: ProposalId | None = None
    conditions: tuple[str, ...] = ()
    outdated: Outdated | None = None
    look_at: float | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """One agent at one moment: desired (entry, tombstone, run), observed, its deploys, and the clock."""

    name: AgentName
    head: Sha
    entry: AgentEntry | None
    tombstone: Tombstone | None
    run: RunEntry
    observed: AgentObserved
    deploys: tuple[Deploy, ...]
    now: float
    daemon_since: float
    config: Config
    revision: str = ""
    goes_down: bool = False

    @property
    def purge_owed(self) -> bool:
        """True if a purge was promised and is not done."""
        return self.entry is None and self.tombstone is not None and self.tombstone.purge

    def do(
        self,
        step: steps.Step,
        reason: str,
        deploy: Deploy | None = None,
        *,
        phase: str | None = None,
        conditions: tuple[str, ...] = (),
    ) -> Decision:
        """Return the decision for `step`. Its phase is derived unless given."""
        if deploy is not None:
            conditions = (f"deploying {deploy.id}: {step.name}", *conditions)
        return Decision(step, reason, phase or self.phase(step), deploy.id if deploy else None, conditions)

    def nothing(self, reason: str, *, phase: str | None = None, conditions: tuple[str, ...] = ()) -> Decision:
        """Return the decision to do nothing."""
        return self.do(steps.Nothing(), reason, phase=phase, conditions=conditions)

    def phase(self, step: steps.Step) -> str:
        """Return the phase of this agent while `step` is next."""
        return phase(self.observed, self.run, step, self.judge(), self.now, self.daemon_since, self.config)

    def judge(self) -> health.Verdict:
        """Return the health gate's verdict on the present launch."""
        return health.judge(
            self.observed.container,
            self.observed.link,
            now=self.now,
            daemon_since=self.daemon_since,
            config=self.config,
        )

    def built(self, proposal: ProposalId, sha: Sha, settings: ContainerSettings) -> Generation | None:
        """Return the generation of `proposal` if it still fits the commit and the settings."""
        generation = self.observed.built.get(proposal)
        if generation is None or generation.sha != sha or generation.fingerprint != settings.fingerprint():
            return None
        return generation

    def outdated(self) -> Outdated | None:
        """Return the two revisions if what meta pins was built with others than a rebuild would use, else None.

        None also while what meta pins is not built.
        """
        pin = self.entry.pin if self.entry is not None else None
        generation = self.observed.built.get(pin.id) if pin is not None else None
        if generation is None or not self.revision:
            return None
        built = generation.revision, generation.nixpkgs, generation.modules
        return None if agrees(self.revision, *built) else Outdated(revision_of(*built), self.revision)

    def unproven(self) -> ProposalId | None:
        """Return the pinned id if its generation has never passed the health gate; else None.

        Such an id was deployed while the agent was stopped: built and set, not started. Its first start is its gate.
        """
        pin = self.entry.pin.id if self.entry is not None else None
        return next((deploy.id for deploy in self.deploys if deploy.id == pin and self._is_unproven(deploy)), None)

    def last_proven(self) -> ProposalId | None:
        """Return the newest deployed id that passed the health gate and has other files than the pinned one."""
        pin = self.entry.pin.id if self.entry is not None else None
        origin = origins(self.deploys, pin)
        given_up = self.entry.disowned if self.entry is not None else frozenset()
        done = (each for each in self.deploys if each.state is TagState.DEPLOYED and each.id not in given_up)
        others = (deploy for deploy in done if pin is None or origin[deploy.id] != origin.get(pin))
        return max((deploy.id for deploy in others if not self._is_unproven(deploy)), default=None)

    def _is_unproven(self, deploy: Deploy) -> bool:
        deployed = deploy.state is TagState.DEPLOYED
        return deployed and deploy.unproven and deploy.id not in self.observed.memo.proven

    def prepare_host(self, settings: ContainerSettings, deploy: Deploy | None) -> Decision | None:
        """Return the next step to prepare the host before a container can start; None if the host is ready."""
        if not self.observed.container.exists:
            return self.do(steps.Create(settings), "there is no container", deploy)
        if not self.observed.proposed:
            return self.do(
                steps.MakeDirectories(settings), "the proposed work tree or the push repo is missing", deploy
            )
        if not self.observed.sockets:
            return self.do(steps.OpenSockets(settings), "its sockets are missing", deploy)
        return None

    def drain_and_stop(self, transient: str, reason: str, deploy: Deploy | None) -> Decision:
        """Stop the container. If a harness is connected, first drain to the end of the turn."""
        link, launch = self.observed.link, self.observed.container.launch
        drained = link.turn is not None and link.turn == "drained"
        if link.connected and not drained and not link.drain_over:
            seconds = self.config.drain_deadline
            conditions = (f"waits for its turn to end, at most {seconds:g} s",)
            return self.do(steps.Drain(seconds), reason, deploy, phase="draining", conditions=conditions)
        reconnects_by = self.daemon_since + self.config.reconnect_grace
        proven = launch is not None and launch.nonce == self.observed.memo.healthy_nonce
        if proven and not link.connected and not link.drain_over and self.now < reconnects_by:
            return self.do(
                steps.Wait(reconnects_by), f"{reason}; its harness may be in a turn and has not reconnected yet", deploy
            )
        nonce = launch.nonce if launch else ""
        return self.do(steps.Stop(transient, nonce), reason, deploy)
