"""The steps of a plan, one idempotent action each. docs/explanation/commit-protocol.md defines their codes (A8, F).

Each step class names its effects in the order in which `apply` causes them. Every effect has two failpoints
(`<effect>:before`, `<effect>:after`), and the crash matrix is generated from this table. COMMANDS lists the effects of
the commands that write a tag or a ref before a plan reads it (P1 to P4, A1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from meta.model import AgentEntry, ContainerSettings, Generation
from meta.names import ProposalId, Sha
from reconciler.plan.observed import Exit


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `name` is what users see; `effects` are in the order in which apply causes them."""

    name: ClassVar[str]
    effects: ClassVar[tuple[str, ...]] = ()
    interruptible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Nothing(Step):
    """Do nothing: the agent is as desired, held, or given up. The reason says which."""

    name: ClassVar[str] = "none"


@dataclass(frozen=True, slots=True)
class Wait(Step):
    """Wait until `until` (Unix seconds) or for a hint."""

    name: ClassVar[str] = "wait"
    until: float


@dataclass(frozen=True, slots=True)
class Project(Step):
    """Make the cards agree with the tags (P4, A10)."""

    name: ClassVar[str] = "project"
    effects: ClassVar[tuple[str, ...]] = ("project",)


@dataclass(frozen=True, slots=True)
class Begin(Step):
    """Check the ancestor and tag `building/<id>` (A2)."""

    name: ClassVar[str] = "begin"
    effects: ClassVar[tuple[str, ...]] = ("tag-building",)
    id: ProposalId


@dataclass(frozen=True, slots=True)
class MakeCandidate(Step):
    """Commit meta's HEAD with this agent's pin beside `main` (A3)."""

    name: ClassVar[str] = "candidate"
    effects: ClassVar[tuple[str, ...]] = ("candidate",)
    id: ProposalId


@dataclass(frozen=True, slots=True)
class Preview(Step):
    """Evaluate the pending `id` for the operator's decision. A candidate is made only for that."""

    name: ClassVar[str] = "preview"
    effects: ClassVar[tuple[str, ...]] = ("preview",)
    interruptible: ClassVar[bool] = True
    id: ProposalId


@dataclass(frozen=True, slots=True)
class Build(Step):
    """Build the generation of `id` from the meta commit `candidate` (A4).

    A lost generation is built from the commit that gave it, so a repair takes no newer shared inputs.
    """

    name: ClassVar[str] = "build"
    effects: ClassVar[tuple[str, ...]] = ("build",)
    interruptible: ClassVar[bool] = True
    id: ProposalId
    sha: Sha
    settings: ContainerSettings
    candidate: Sha


@dataclass(frozen=True, slots=True)
class Create(Step):
    """Make the container; it does not run yet."""

    name: ClassVar[str] = "create"
    effects: ClassVar[tuple[str, ...]] = ("create",)
    settings: ContainerSettings


@dataclass(frozen=True, slots=True)
class MakeDirectories(Step):
    """Make the agent's directories and its proposed work tree."""

    name: ClassVar[str] = "furnish"
    effects: ClassVar[tuple[str, ...]] = ("own-directories", "proposed")
    settings: ContainerSettings


@dataclass(frozen=True, slots=True)
class OpenSockets(Step):
    """Listen on the agent's sockets."""

    name: ClassVar[str] = "open-sockets"
    effects: ClassVar[tuple[str, ...]] = ("open-sockets",)
    settings: ContainerSettings


@dataclass(frozen=True, slots=True)
class Drain(Step):
    """Wait until the harness has finished its turn, at most `deadline` seconds (A5)."""

    name: ClassVar[str] = "drain"
    effects: ClassVar[tuple[str, ...]] = ("drain",)
    interruptible: ClassVar[bool] = True
    deadline: float


@dataclass(frozen=True, slots=True)
class Stop(Step):
    """End the launch with `nonce` (A6). `transient` is stored first, so that hive does not count a crash.

    `turn`: the number of the turn over its limit, which hive asks the harness to end first.
    """

    name: ClassVar[str] = "stop"
    effects: ClassVar[tuple[str, ...]] = ("remember-stop", "stop")
    transient: str
    nonce: str
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Switch(Step):
    """Set the system by path and write the container's settings (A6)."""

    name: ClassVar[str] = "switch"
    effects: ClassVar[tuple[str, ...]] = ("set-system", "write-settings")
    generation: Generation
    settings: ContainerSettings


@dataclass(frozen=True, slots=True)
class Start(Step):
    """Start the system that is set (A6)."""

    name: ClassVar[str] = "start"
    effects: ClassVar[tuple[str, ...]] = ("start",)
    generation: Generation
    deploy: ProposalId | None
    restarts: int
    rebuilds: int


@dataclass(frozen=True, slots=True)
class Commit(Step):
    """Change this agent on meta's `main`: the commit point (A8).

    `proven`: the launch passed the gate; else it is only set.
    """

    name: ClassVar[str] = "commit"
    effects: ClassVar[tuple[str, ...]] = ("commit-meta",)
    id: ProposalId
    entry: AgentEntry
    generation: Generation
    proven: bool


@dataclass(frozen=True, slots=True)
class Finish(Step):
    """Write `deployed/<id>` and `applied/main` (A9). `unproven`: the generation is built and set, not started."""

    name: ClassVar[str] = "finish"
    effects: ClassVar[tuple[str, ...]] = ("tag-deployed",)
    id: ProposalId
    meta_commit: Sha
    unproven: bool


@dataclass(frozen=True, slots=True)
class Drop(Step):
    """Drop the candidate and its leftovers (A10)."""

    name: ClassVar[str] = "drop"
    effects: ClassVar[tuple[str, ...]] = ("drop-candidate", "prune")
    id: ProposalId


@dataclass(frozen=True, slots=True)
class Fail(Step):
    """Write `failed/<id>` (F). `touched`: the container was switched, so it must go back to HEAD's generation."""

    name: ClassVar[str] = "fail"
    effects: ClassVar[tuple[str, ...]] = ("remember-rollback", "tag-failed")
    id: ProposalId
    reason: str
    touched: bool


@dataclass(frozen=True, slots=True)
class CountCrash(Step):
    """Count an unexpected exit, and set the time of the next start. After the `last` crash there is none."""

    name: ClassVar[str] = "count-crash"
    effects: ClassVar[tuple[str, ...]] = ("count-crash",)
    exit: Exit
    why: str
    last: bool = False


@dataclass(frozen=True, slots=True)
class MarkHealthy(Step):
    """Remember that the launch with `nonce` passed its gate. `proves`: the id that this proves."""

    name: ClassVar[str] = "mark-healthy"
    effects: ClassVar[tuple[str, ...]] = ("mark-healthy",)
    nonce: str
    proves: ProposalId | None = None


@dataclass(frozen=True, slots=True)
class ForgetCrashes(Step):
    """Reset crashes and back-off: the agent was healthy for long enough, or does turns without a dead letter."""

    name: ClassVar[str] = "forget-crashes"
    effects: ClassVar[tuple[str, ...]] = ("forget-crashes",)


@dataclass(frozen=True, slots=True)
class GiveUpRollback(Step):
    """Stop the attempts, because the old generation does not pass the gate either. The operator is alarmed."""

    name: ClassVar[str] = "give-up-rollback"
    effects: ClassVar[tuple[str, ...]] = ("give-up-rollback",)
    reason: str


@dataclass(frozen=True, slots=True)
class Reapply(Step):
    """Make everything of the agent on the host again, and build its pin again (`hive rebuild`)."""

    name: ClassVar[str] = "reapply"
    effects: ClassVar[tuple[str, ...]] = ("reapply", "rebuild", "remember-rebuild")
    id: ProposalId
    sha: Sha
    settings: ContainerSettings
    candidate: Sha
    rebuilds: int


@dataclass(frozen=True, slots=True)
class Destroy(Step):
    """Remove the container and its sockets. Repos and /state stay."""

    name: ClassVar[str] = "destroy"
    effects: ClassVar[tuple[str, ...]] = ("destroy", "close-sockets", "forget-memo")


@dataclass(frozen=True, slots=True)
class Purge(Step):
    """Move all directories of the agent out of the way, forget it, then its tombstone; remove what was moved last."""

    name: ClassVar[str] = "purge"
    effects: ClassVar[tuple[str, ...]] = ("purge-directories", "forget-records", "forget-tombstone", "empty-removed")


STEPS: tuple[type[Step], ...] = (
    Nothing,
    Wait,
    Project,
    Preview,
    Begin,
    MakeCandidate,
    Build,
    Create,
    MakeDirectories,
    OpenSockets,
    Drain,
    Stop,
    Switch,
    Start,
    Commit,
    Finish,
    Drop,
    Fail,
    CountCrash,
    MarkHealthy,
    ForgetCrashes,
    GiveUpRollback,
    Reapply,
    Destroy,
    Purge,
)
"""Every step. A test checks that none is missing."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "propose": ("take-id", "fetch", "tag-proposal", "tag-superseded", "project-proposal"),
    "approve": ("tag-approved",),
    "deny": ("tag-denied",),
    "cancel": ("tag-cancelled",),
    "rollback": ("tag-rollback", "approve-rollback"),
    "spawn": ("seed", "tag-spawn", "approve-spawn"),
    "run": ("commit-run",),
    "rebuild --all": ("write-rollout", "begin-wave"),
    "destroy": ("end-open-ids", "remove-entry"),
    "adopt": ("adopt",),
    "declared": ("remember-declared",),
}
"""Effects of the commands that write a tag or a ref (P1 to P4, A1). `declared`: of what the host declares."""

OPERATIONS: dict[str, tuple[str, ...]] = {
    "tag-proposal": ("placed",),
    "tag-superseded": ("tagged",),
    "tag-denied": ("tagged",),
    "end-open-ids": ("tagged",),
    "purge-directories": ("applied", "proposed", "agents", "generations", "roots", "push"),
    "forget-records": ("cards",),
    "forget-tombstone": ("run",),
    "empty-removed": ("first",),
    "remove-entry": ("committed",),
    "destroy": ("moved",),
    "seed": ("git-init", "repo"),
    "create": ("made", "placed"),
    "own-directories": ("state", "home"),
    "proposed": ("work-tree",),
    "set-system": ("link",),
    "build": ("written", "placed"),
    "start": ("spec",),
    "open-sockets": ("mcp", "harness"),
}
"""The operations inside an effect, in their order, but for the last: after that comes `<effect>:after`."""
