"""What is, as frozen values: containers, links, what was built, what is remembered. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meta.model import Candidate, Deploy, Generation
from meta.names import AgentName, GenerationId, ProposalId, Sha
from meta.wire.link import TurnState


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a container, recorded by the backend together with the start itself.

    `nonce` is new for each start. `deploy` is the id whose health gate this start is for, None for a repair.
    `restarts` and `rebuilds` are run.json's counters at that moment.
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
    """How the launch with `nonce` ended. `lost`: it ended without a witness (host reboot, supervisor killed)."""

    nonce: str
    at: float
    code: int | None = None
    signal: int | None = None
    lost: bool = False

    def describe(self) -> str:
        """In words, for people."""
        if self.lost:
            return "gone without a trace (host restarted, or its supervisor was killed)"
        if self.signal is not None:
            return f"killed by signal {self.signal}"
        return f"exited with code {self.code}"


@dataclass(frozen=True, slots=True)
class Container:
    """One container as its backend sees it.

    `ours` is False when a container of that name exists without hive's marker: it is never touched.
    `system` is the generation that it is switched to (None when the pointer is missing or dangles);
    `fingerprint` that of the settings written for it (None when the file is missing or was edited).
    `pid` is the process that stands for the container while it runs.
    """

    exists: bool = False
    ours: bool = True
    system: GenerationId | None = None
    fingerprint: str | None = None
    pid: int | None = None
    launch: Launch | None = None
    exit: Exit | None = None

    @property
    def running(self) -> bool:
        """True while there is a process."""
        return self.pid is not None


@dataclass(frozen=True, slots=True)
class LinkView:
    """The harness's link as the daemon sees it. Times are Unix seconds.

    `drain_over`: this launch had its drain, the next step is to stop it.
    `legacy_at`: a peer that never says hello used its mcp socket at that time; that counts as healthy.
    `answered`: it answered a probe on this connection. `losses`: how often this nonce's link broke.
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


class Transient:
    """Why an exit is expected. Persisted before the stop, so that none of them looks like a crash."""

    STOPPING = "stopping"
    RESTARTING = "restarting"
    SWITCHING = "switching"
    DESTROYING = "destroying"


@dataclass(frozen=True, slots=True)
class Memo:
    """What is remembered about an agent across daemons (store). Losing it loses patience, never correctness.

    `expected_exit` is the nonce of a launch that hive itself ends; `counted_exit` the last exit taken into account.
    `deaths` counts, per (id, step), how often a daemon died in it.
    `rollback_from` is the failed id whose old generation still has to pass the gate.
    `needs_login`: it was told that the agent has no login.
    `proven`: ids that were deployed without a start and came through the health gate later.
    """

    crashes: int = 0
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


@dataclass(frozen=True, slots=True)
class AgentObserved:
    """Everything that is known about one agent at one moment.

    `built`: what each id was built into, where that is still there. `candidates`: the candidate commits, by id.
    `committed`: ids whose commit is on meta `main`. `foreign`: deployed ids that name a meta commit not in `main`.
    `projected`: the cards agree with the tags. `previewed`: ids with a preview; None where the builder has none.
    `previewing`: the id that is being evaluated at this moment.
    """

    container: Container = Container()
    link: LinkView = LinkView()
    memo: Memo = Memo()
    sockets: bool = False
    proposed: bool = False
    built: Mapping[ProposalId, Generation] = field(default_factory=dict)
    candidates: Mapping[ProposalId, Candidate] = field(default_factory=dict)
    committed: Mapping[ProposalId, Sha] = field(default_factory=dict)
    foreign: frozenset[ProposalId] = frozenset()
    projected: bool = True
    previewed: frozenset[ProposalId] | None = None
    previewing: ProposalId | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """All agents, with when the daemon began to look (links are unknown for a grace time after that).

    `revision` is the hive that a build would record now; "" where that is unknown, and then nothing is outdated.
    """

    agents: Mapping[AgentName, AgentObserved]
    daemon_since: float
    revision: str = ""


Deploys = Mapping[AgentName, tuple[Deploy, ...]]
