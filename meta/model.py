"""Desired state as frozen values: agents, pins, limits, deploys. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from meta.approval import Binding
from meta.names import AgentName, GenerationId, ProposalId, Sha


class Role(StrEnum):
    """The rights of an agent beyond its own inbox."""

    AGENT = "agent"
    MANAGER = "manager"


class RunState(StrEnum):
    """The desired run state of an agent."""

    RUNNING = "running"
    STOPPED = "stopped"


class DeployKind(StrEnum):
    """The origin of a proposal. `rollback` proposes the tree of an older deployed commit."""

    APPLY_COMMIT = "apply_commit"
    SPAWN = "spawn"
    ROLLBACK = "rollback"


class TagState(StrEnum):
    """The state of an id: the furthest of its tags. The values are the folders of the tags."""

    PROPOSAL = "proposal"
    APPROVED = "approved"
    BUILDING = "building"
    DEPLOYED = "deployed"
    FAILED = "failed"
    DENIED = "denied"

    @property
    def terminal(self) -> bool:
        """Return True if no state can follow."""
        return self in (TagState.DEPLOYED, TagState.FAILED, TagState.DENIED)


@dataclass(frozen=True, slots=True)
class Pin:
    """The commit an agent should run: `refs/tags/proposal/<id>` at `sha` of its applied repo."""

    id: ProposalId
    sha: Sha


@dataclass(frozen=True, slots=True)
class Limits:
    """The resource limits of one container. None is no limit; for `disk_mib` it is that of the daemon's settings.

    `disk_mib` is measured while the container runs. So a change of it needs no restart, and it has no fingerprint.
    """

    memory_mib: int | None = 2048
    pids: int | None = 1024
    cpu_percent: int | None = None
    disk_mib: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """The settings that the host decides, kept in agents.json. An agent cannot change them."""

    role: Role
    uid_base: int
    limits: Limits = Limits()
    isolated: bool = True

    def fingerprint(self) -> str:
        """Return 20 hex digits that change whenever a setting does."""
        return _fingerprint(self)


@lru_cache(maxsize=4096)
def _fingerprint(settings: ContainerSettings) -> str:
    values = asdict(settings)
    del values["limits"]["disk_mib"]
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """One agent in agents.json. `disowned` are the deployed ids that `hive adopt --meta` gave up."""

    pin: Pin
    settings: ContainerSettings
    disowned: frozenset[ProposalId] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit of the meta repo beside `main`: HEAD with one agent's `entry`."""

    commit: Sha
    entry: AgentEntry


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The rest of a destroyed agent, for a respawn. With `purge` its directories still have to be removed."""

    uid_base: int
    pin: Pin
    purge: bool = False
    disowned: frozenset[ProposalId] = frozenset()


@dataclass(frozen=True, slots=True)
class NetworkGrant:
    """A rule of the way out (meta.network.rule) that the operator gave one agent until a time. Unix seconds.

    `request` is the number of the agent's request that it answers, None if there was none.
    """

    rule: str
    until: int
    by: str
    at: int
    request: int | None = None


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One agent in run.json. The counters only grow: each increment requests one restart or rebuild.

    `with_all`: it was stopped by `hive stop --all`, so `hive start --all` starts it. `paused`: it runs, but takes no
    turn until the operator resumes it. `grants`: what it may reach for a time, beyond its agent.toml.
    """

    state: RunState = RunState.RUNNING
    restarts: int = 0
    rebuilds: int = 0
    with_all: bool = False
    paused: bool = False
    grants: tuple[NetworkGrant, ...] = ()


@dataclass(frozen=True, slots=True)
class Desired:
    """The meta repo at one moment: `main` (head, agents, tombstones) and `run`."""

    head: Sha
    agents: Mapping[AgentName, AgentEntry]
    tombstones: Mapping[AgentName, Tombstone] = field(default_factory=dict)
    run: Mapping[AgentName, RunEntry] = field(default_factory=dict)

    def run_of(self, agent: AgentName) -> RunEntry:
        """Return the agent's run entry. An agent without an entry is running."""
        return self.run.get(agent, RunEntry())


@dataclass(frozen=True, slots=True)
class Deploy:
    """One id of one agent, read from its tags. Times are Unix seconds.

    `commit_ref` is what the proposer named (empty for a spawn), `sha` what hive fetched and pinned.
    `by` and `reason` are those of the furthest tag, `approved_by` is that of the approval.
    `meta_commit` is the commit on meta `main` that a deployed id names. `shown` is what its approval is bound to.
    `kept`: the tags keep the commit; hive removes the objects of a denied id. `rebased_from`: hive made the commit by
    replaying that id. `declared`: the digest of the declaration that it was made for, "" if for none.
    `consent`: what stands behind its approval (meta.consent.How), "" if only a click or a command.
    """

    agent: AgentName
    id: ProposalId
    kind: DeployKind
    state: TagState
    sha: Sha
    base: Sha | None
    commit_ref: str
    source: str
    description: str
    requested_at: int
    proposed_by: str
    approved_by: str | None = None
    resolved_at: int | None = None
    by: str | None = None
    reason: str | None = None
    meta_commit: Sha | None = None
    unproven: bool = False
    shown: Binding | None = None
    kept: bool = True
    rebased_from: ProposalId | None = None
    declared: str = ""
    consent: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """A system that one agent runs, with the container settings that it was built for.

    `system` is the path that the container is switched to, a generation directory or a store path. `fingerprint` is
    ContainerSettings.fingerprint(), `revision` the hive revision of the build, `nixpkgs` that of nixpkgs ("" if it used
    none, or is older than this field), `modules` that of the modules for every agent ("" if there were none).
    """

    id: GenerationId
    agent: AgentName
    sha: Sha
    system: Path
    fingerprint: str
    revision: str
    nixpkgs: str = ""
    modules: str = ""
