"""What people and programs are shown: frozen values that the API turns into JSON. Times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meta.model import DeployKind
from meta.names import AgentName, ProposalId, Sha
from reconciler.plan.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Card:
    """One approval as the operator sees it; a projection of the id's tags.

    `status` is one of pending, approved, denied, failed (the wire's words). `state` is the furthest tag.
    `commit_ref` is as claimed (empty for a spawn); `fetched_sha` only after a fetch.
    What follows `source` is not kept but looked up when a card is shown: `branch` (of the push repo or the work tree)
    where the proposal came from one, `sha` (also of a spawn), `decided_by` of one that is no longer pending, and
    `stale` of one that cannot be deployed any more: how to rebase it.
    """

    id: ProposalId
    agent: AgentName
    kind: DeployKind
    commit_ref: str
    fetched_sha: str | None
    requested_at: int
    status: str
    state: str
    resolved_at: int | None = None
    note: str | None = None
    description: str | None = None
    proposed_by: str | None = None
    approved_by: str | None = None
    source: str | None = None
    branch: str | None = None
    sha: str | None = None
    decided_by: str | None = None
    stale: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedTip:
    """A branch whose commit is no proposal. `source` as a tag would say it, `by` who wrote it; `remedy` in words."""

    agent: AgentName
    source: str
    branch: str
    commit: str
    by: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The next step of one agent, and why. `until`: the end of a wait or of a drain; `deploy`: the id in flight."""

    agent: AgentName
    phase: str
    step: str
    reason: str
    deploy: ProposalId | None = None
    until: float | None = None
    conditions: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        """True when there is nothing to do."""
        return self.step == "none"


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """One row of `hive status`."""

    agent: AgentName
    role: str
    phase: str
    since: float
    turn: str | None
    desired: str
    generation: str | None
    sha: str | None
    deployed: ProposalId | None
    in_flight: ProposalId | None
    pending: tuple[ProposalId, ...]
    pid: int | None
    crashes: int
    unread: int
    conditions: tuple[str, ...] = ()
    built_with: str | None = None
    """The hive that built it, where a rebuild would be with another one."""


@dataclass(frozen=True, slots=True)
class Status:
    """`hive status`: the daemon and every agent."""

    revision: str
    backend: str
    builder: str
    state: str
    runtime: str
    meta_head: str
    isolation: str
    limits: str
    uids: str
    notes: tuple[str, ...]
    agents: tuple[AgentStatus, ...]
    rollout: Rollout | None = None
    """The rebuild of all agents, while it is under way or after it failed."""
    unread: int = 0
    """Messages to the operator that it has not marked as read."""
    questions: int = 0
    """Open questions to the operator."""
    dead_letters: int = 0
    """Of all inboxes."""


@dataclass(frozen=True, slots=True)
class Diff:
    """What a proposal changes. `settings` lists changed settings as (key, before, after); `patch` is git's.

    `complaint` says why it cannot be built, as far as that is known. Where the builder previews: `system` lists the
    differences of the built system, `shown` is what an approval sends back (None while the proposal is not evaluated
    yet), `same` says that it is what runs. `build` is the end of its build's log, while this daemon knows it.
    """

    id: ProposalId
    agent: AgentName
    base: str | None
    sha: Sha
    description: str
    commits: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    files: tuple[str, ...]
    patch: str
    previews: bool = False
    system: tuple[str, ...] = ()
    complaint: str | None = None
    shown: str | None = None
    same: bool = False
    build: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What lies between two commits of one agent. As in Diff; `base` and `sha` are whole commits."""

    agent: AgentName
    base: str
    sha: str
    commits: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    files: tuple[str, ...]
    patch: str


@dataclass(frozen=True, slots=True)
class SettingsText:
    """agent.toml of one commit; `base` is the agent's newest deployed commit, which an edit goes on top of."""

    agent: AgentName
    base: str
    sha: str
    text: str


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of what a container wrote. `cursor` is where the next part begins; None when nothing was written yet."""

    text: str
    cursor: str | None


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of the system-wide deploy log (meta `main`)."""

    commit: str
    at: int
    action: str
    agent: str | None
    id: ProposalId | None
    sha: str | None
    generation: str | None
    by: str | None
    subject: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `seq` is `<database uuid>-<n>`; `data` is JSON."""

    seq: str
    at: float
    kind: str
    agent: str | None
    data: dict[str, Any] = field(default_factory=dict)
