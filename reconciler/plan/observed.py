"""The observed state as frozen values: containers, links, generations, memos. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meta.model import Candidate, Deploy, Generation
from meta.names import AgentName, GenerationId, ProposalId, Sha
from meta.wire.link import About, PodInfo, TurnState


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a container. The backend records it together with the start.

    `nonce` is new for each start. `deploy` is the id whose health gate this start belongs to; None for a repair.
    `restarts` and `rebuilds` are run.json's counters at the start.
    """

    generation: GenerationId
    fingerprint: str
    nonce: str
    at: float
    deploy: ProposalId | None = None
    restarts: int = 0
    rebuilds: int = 0


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of the launch with `nonce`. `lost`: nothing recorded the end (host reboot, supervisor killed)."""

    nonce: str
    at: float
    code: int | None = None
    signal: int | None = None
    lost: bool = False

    def describe(self) -> str:
        """Return the exit in words."""
        if self.lost:
            return "ended without a record (host restarted, or its supervisor was killed)"
        if self.signal is not None:
            return f"killed by signal {self.signal}"
        return f"exited with code {self.code}"


@dataclass(frozen=True, slots=True)
class Container:
    """One container as its backend sees it.

    `ours` is False for a container of that name without hive's marker: hive never touches it. `system` is the
    generation that it starts next (None if the pointer is missing or dangles). `fingerprint` is that of the settings
    written for it (None if the file is missing or was edited). `pid` is the main process of the container while it
    runs. `damage` is what is wrong with a record that cannot be read, and the remedy; nothing else is known then.
    """

    exists: bool = False
    ours: bool = True
    system: GenerationId | None = None
    fingerprint: str | None = None
    pid: int | None = None
    launch: Launch | None = None
    exit: Exit | None = None
    damage: tuple[str, str] | None = None

    @property
    def running(self) -> bool:
        """True while the container's process runs."""
        return self.pid is not None


@dataclass(frozen=True, slots=True)
class LinkView:
    """The harness's link as the daemon sees it. Times are Unix seconds.

    `drain_over`: this launch was drained; the next step stops it.
    `legacy_at`: when a peer that never sends a hello used its mcp socket, which counts as healthy.
    `answered`: it answered a probe on this connection. `losses`: how often the link of this nonce broke.
    `acked`: this launch acknowledged the messages of a turn. `turn_since`: when the turn began that runs.
    `turn_number`: its number, or that of the latest one; None if the harness does not count them.
    `state_since`: when the turn state began; `until`: when the harness goes on by itself; `reason`: why it waits.
    `context`: tokens in the conversation's context, of `window`; None: not known.
    `about`: the runtime that it drives; None until it says so. All from `until` on are the agent's own words.
    `pods`: its own pod, then its sub-agents; none until it says so.
    """

    connected: bool = False
    since: float = 0.0
    generation: str | None = None
    nonce: str | None = None
    turn: TurnState | None = None
    answered: bool = False
    losses: int = 0
    drain_over: bool = False
    legacy_at: float | None = None
    acked: bool = False
    turn_since: float | None = None
    turn_number: int | None = None
    state_since: float | None = None
    until: float | None = None
    reason: str = ""
    person: bool = False
    """By the agent's own words: it waits for what only a person can mend."""
    context: int | None = None
    window: int | None = None
    about: About | None = None
    pods: tuple[PodInfo, ...] = ()


class Transient:
    """The reason why an exit is expected. It is stored before the stop, so that hive does not count a crash."""

    STOPPING = "stopping"
    RESTARTING = "restarting"
    SWITCHING = "switching"
    DESTROYING = "destroying"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Memo:
    """The facts about an agent that outlive the daemon (store). Without it hive waits and counts again, but its
    decisions stay correct.

    `expected_exit` is the nonce of a launch that hive itself ends; `counted_exit` that of the last counted exit.
    `deaths` counts, per (id, step), how often a daemon died in it.
    `rollback_from` is the failed id whose old generation still has to pass the gate.
    `needs_login`: the event that the agent has no login was published.
    `proven`: ids that were deployed without a start and passed the health gate later.
    `excused`: so many of the crashes are the fault of a message that is a dead letter now; 0 after a good turn.
    """

    crashes: int = 0
    excused: int = 0
    last_crash: float = 0.0
    start_after: float = 0.0
    counted_exit: str | None = None
    transient: str | None = None
    expected_exit: str | None = None
    rollback_from: ProposalId | None = None
    rollback_failed: bool = False
    healthy_nonce: str | None = None
    rebuilt: int = 0
    needs_login: bool = False
    proven: tuple[ProposalId, ...] = ()
    deaths: Mapping[tuple[ProposalId, str], int] = field(default_factory=dict)

    @property
    def own_crashes(self) -> int:
        """The crashes in a row that are the agent's own fault."""
        return self.crashes - self.excused


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes and inodes of an agent's files. `complete`: these are all that have a name."""

    bytes: int
    inodes: int
    complete: bool


@dataclass(frozen=True, slots=True)
class DiskUse:
    """The bytes and inodes of an agent's files when they were last measured, and their limits (None: no limit).

    `complete`: all of them were counted. `suspect`: not all were, and the disk is full. `unlinked`: the bytes of files
    without a name that its processes hold open.
    """

    bytes: int
    limit: int | None
    complete: bool = True
    suspect: bool = False
    inodes: int = 0
    inode_limit: int | None = None
    unlinked: int = 0

    @property
    def over(self) -> bool:
        """True if the agent may not run: it exceeds the limit, or hides what it has while the disk is full."""
        return self.exceeds or (self.limit is not None and self.suspect)

    @property
    def exceeds(self) -> bool:
        """True if what was counted exceeds a limit."""
        too_large = self.limit is not None and self.bytes > self.limit
        return too_large or (self.inode_limit is not None and self.inodes > self.inode_limit)


@dataclass(frozen=True, slots=True)
class AgentObserved:
    """Everything that is known about one agent at one moment.

    `built`: the generation of each id, if it still exists. `candidates`: the candidate commits, by id.
    `committed`: ids whose commit is on meta `main`. `sources`: the commits of meta that their generations are built
    from. `foreign`: ids whose tags and meta contradict each other.
    `projected`: the cards agree with the tags. `previewed`: ids with a preview, None if the builder makes none.
    `previewing`: the id that is evaluated at this moment. `damage`: which of its files cannot be read or understood,
    with the `remedy`; the deploys are then those that were read last. `disk` is None until it was measured.
    `stop_asked`: the operator stopped it, and the disk is too full to record that. `turn_limit`: the seconds that one
    turn may take; None if that is not known, as between turns.
    """

    container: Container = Container()
    link: LinkView = LinkView()
    memo: Memo = Memo()
    sockets: bool = False
    proposed: bool = False
    built: Mapping[ProposalId, Generation] = field(default_factory=dict)
    candidates: Mapping[ProposalId, Candidate] = field(default_factory=dict)
    committed: Mapping[ProposalId, Sha] = field(default_factory=dict)
    sources: Mapping[ProposalId, Sha] = field(default_factory=dict)
    foreign: frozenset[ProposalId] = frozenset()
    projected: bool = True
    previewed: frozenset[ProposalId] | None = None
    previewing: ProposalId | None = None
    damage: str = ""
    remedy: str = ""
    disk: DiskUse | None = None
    stop_asked: bool = False
    turn_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """All agents, and the time when the daemon began to observe. Links are unknown for a grace period after that.

    `revision` is the revision of hive that a build would record now. If it is unknown (""), no agent is outdated.
    `goes_down`: the whole hive ends, so nothing may run.
    """

    agents: Mapping[AgentName, AgentObserved]
    daemon_since: float
    revision: str = ""
    goes_down: bool = False


Deploys = Mapping[AgentName, tuple[Deploy, ...]]
