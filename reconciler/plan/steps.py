"""The steps that a plan consists of: one step is one idempotent action on one agent (ARCHITECTURE 5, A2 to A10).

Each step class names, in order, the effects that `apply` brings about for it. Every effect is a failpoint
(`<effect>:before`, `<effect>:after`), so the crash matrix is generated from this table. COMMANDS lists the
effects of the commands that write a tag or a ref before a plan sees anything (P1 to P4, A1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from meta.model import AgentEntry, ContainerSettings, Generation
from meta.names import ProposalId, Sha
from reconciler.plan.observed import Exit


@dataclass(frozen=True, slots=True)
class Step:
    """Base: `name` as people see it; `effects` in the order in which apply brings them about."""

    name: ClassVar[str]
    effects: ClassVar[tuple[str, ...]] = ()
    interruptible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Nothing(Step):
    """Converged, held, or given up: the reason says which."""

    name: ClassVar[str] = "none"


@dataclass(frozen=True, slots=True)
class Wait(Step):
    """Nothing before `until` (Unix seconds), unless a hint comes."""

    name: ClassVar[str] = "wait"
    until: float


@dataclass(frozen=True, slots=True)
class Project(Step):
    """Make the cards agree with the tags (P4, A10)."""

    name: ClassVar[str] = "project"
    effects: ClassVar[tuple[str, ...]] = ("project",)


@dataclass(frozen=True, slots=True)
class Begin(Step):
    """A2: check the ancestor, tag `building/<id>`."""

    name: ClassVar[str] = "begin"
    effects: ClassVar[tuple[str, ...]] = ("tag-building",)
    id: ProposalId


@dataclass(frozen=True, slots=True)
class MakeCandidate(Step):
    """A3: meta HEAD with this agent's pin, as a commit beside `main`."""

    name: ClassVar[str] = "candidate"
    effects: ClassVar[tuple[str, ...]] = ("candidate",)
    id: ProposalId


@dataclass(frozen=True, slots=True)
class Preview(Step):
    """What the pending `id` would become, for whoever decides about it. Its candidate is made for this alone."""

    name: ClassVar[str] = "preview"
    effects: ClassVar[tuple[str, ...]] = ("preview",)
    interruptible: ClassVar[bool] = True
    id: ProposalId


@dataclass(frozen=True, slots=True)
class Build(Step):
    """A4: `id` becomes a generation. `candidate` is the meta commit that is built from."""

    name: ClassVar[str] = "build"
    effects: ClassVar[tuple[str, ...]] = ("build",)
    interruptible: ClassVar[bool] = True
    id: ProposalId
    sha: Sha
    settings: ContainerSettings
    candidate: Sha


@dataclass(frozen=True, slots=True)
class Create(Step):
    """Make the container, not running."""

    name: ClassVar[str] = "create"
    effects: ClassVar[tuple[str, ...]] = ("create",)
    settings: ContainerSettings


@dataclass(frozen=True, slots=True)
class Furnish(Step):
    """Make what the host keeps for an agent: its own directories, the proposed work tree."""

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
    """A5: let the harness finish its turn, at most `deadline` seconds."""

    name: ClassVar[str] = "drain"
    effects: ClassVar[tuple[str, ...]] = ("drain",)
    interruptible: ClassVar[bool] = True
    deadline: float


@dataclass(frozen=True, slots=True)
class Stop(Step):
    """End the launch with `nonce`; `transient` is persisted first, so that it is no crash."""

    name: ClassVar[str] = "stop"
    effects: ClassVar[tuple[str, ...]] = ("remember-stop", "stop")
    transient: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Switch(Step):
    """A6: set the system by path and write the container's settings."""

    name: ClassVar[str] = "switch"
    effects: ClassVar[tuple[str, ...]] = ("set-system", "write-settings")
    generation: Generation
    settings: ContainerSettings


@dataclass(frozen=True, slots=True)
class Start(Step):
    """A6: start what is set."""

    name: ClassVar[str] = "start"
    effects: ClassVar[tuple[str, ...]] = ("start",)
    generation: Generation
    deploy: ProposalId | None
    restarts: int
    rebuilds: int


@dataclass(frozen=True, slots=True)
class Commit(Step):
    """A8, the commit point: the one-agent change on meta `main`. `proven`: it passed the gate, else it is only set."""

    name: ClassVar[str] = "commit"
    effects: ClassVar[tuple[str, ...]] = ("commit-meta",)
    id: ProposalId
    entry: AgentEntry
    generation: Generation
    proven: bool


@dataclass(frozen=True, slots=True)
class Finish(Step):
    """A9: `deployed/<id>` and `applied/main`. `unproven`: built and set, not started."""

    name: ClassVar[str] = "finish"
    effects: ClassVar[tuple[str, ...]] = ("tag-deployed",)
    id: ProposalId
    meta_commit: Sha
    unproven: bool


@dataclass(frozen=True, slots=True)
class Drop(Step):
    """A10: drop the candidate and what only it needed."""

    name: ClassVar[str] = "drop"
    effects: ClassVar[tuple[str, ...]] = ("drop-candidate", "prune")
    id: ProposalId


@dataclass(frozen=True, slots=True)
class Fail(Step):
    """F: `failed/<id>`; `touched`: the container was already switched, so HEAD's generation has to come back."""

    name: ClassVar[str] = "fail"
    effects: ClassVar[tuple[str, ...]] = ("remember-rollback", "tag-failed")
    id: ProposalId
    reason: str
    touched: bool


@dataclass(frozen=True, slots=True)
class CountCrash(Step):
    """Take an unexpected end into account: count it, choose when to start again; after the `last` one never."""

    name: ClassVar[str] = "count-crash"
    effects: ClassVar[tuple[str, ...]] = ("count-crash",)
    exit: Exit
    why: str
    last: bool = False


@dataclass(frozen=True, slots=True)
class MarkHealthy(Step):
    """The launch with `nonce` passed its gate; with that `proves` is no longer unproven."""

    name: ClassVar[str] = "mark-healthy"
    effects: ClassVar[tuple[str, ...]] = ("mark-healthy",)
    nonce: str
    proves: ProposalId | None = None


@dataclass(frozen=True, slots=True)
class ForgetCrashes(Step):
    """Healthy for long enough: crashes and back-off start from nothing."""

    name: ClassVar[str] = "forget-crashes"
    effects: ClassVar[tuple[str, ...]] = ("forget-crashes",)


@dataclass(frozen=True, slots=True)
class GiveUpRollback(Step):
    """The old generation does not pass the gate either: alarm, no further try."""

    name: ClassVar[str] = "give-up-rollback"
    effects: ClassVar[tuple[str, ...]] = ("give-up-rollback",)
    reason: str


@dataclass(frozen=True, slots=True)
class Reapply(Step):
    """`rebuild`: write every host artefact of the agent again and build its pin again."""

    name: ClassVar[str] = "reapply"
    effects: ClassVar[tuple[str, ...]] = ("reapply", "rebuild", "remember-rebuild")
    id: ProposalId
    sha: Sha
    settings: ContainerSettings
    candidate: Sha
    rebuilds: int


@dataclass(frozen=True, slots=True)
class Destroy(Step):
    """Remove the container and its sockets; repos and /state stay."""

    name: ClassVar[str] = "destroy"
    effects: ClassVar[tuple[str, ...]] = ("destroy", "close-sockets", "forget-memo")


@dataclass(frozen=True, slots=True)
class Purge(Step):
    """Remove exactly {agents,applied,proposed}/<name>, then the tombstone."""

    name: ClassVar[str] = "purge"
    effects: ClassVar[tuple[str, ...]] = ("purge-directories", "forget-tombstone")


STEPS: tuple[type[Step], ...] = (
    *(
        Nothing,
        Wait,
        Project,
        Preview,
        Begin,
        MakeCandidate,
        Build,
        Create,
        Furnish,
        OpenSockets,
        Drain,
        Stop,
        Switch,
        Start,
    ),
    *(Commit, Finish, Drop, Fail, CountCrash, MarkHealthy, ForgetCrashes, GiveUpRollback, Reapply, Destroy, Purge),
)
"""Every step; a test checks that none is missing."""

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
}
"""Effects of the commands that write a tag or a ref (P1 to P4, A1)."""
