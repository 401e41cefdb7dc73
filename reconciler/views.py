"""The values that users and programs get: frozen, converted to JSON by the API. Times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meta.git.diff import FileChange
from meta.model import DeployKind, NetworkGrant
from meta.names import AgentName, ProposalId, Sha
from reconciler.plan.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Card:
    """One approval as the operator sees it; a projection of the id's tags.

    `status` is one of pending, approved, denied, failed (the words of the wire). `state` is the furthest tag.
    `commit_ref` is as the proposer wrote it (empty for a spawn); `fetched_sha` is set after a fetch. The fields after
    `source` are not stored but read when a card is shown: `branch` if the proposal came from a branch (of the push repo
    or the work tree), `sha` (also of a spawn), `decided_by` if the card is not pending any more, and `stale` if the
    proposal cannot be deployed any more: how to rebase it; `rebased_from` if hive made the commit by replaying that id;
    `runtime` of a spawn that waits or goes on, if its agent.toml can be read.
    `merges_left_out` is in the answer to `hive rebase` only: merge commits are not replayed. `model_override` is the
    model that the operator set for the agent, which hides the one in agent.toml. `consent` is what stands behind the
    approval: "passkey", "root without passkey", "declared", "command", or "" if only a click or `hive approve`.
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
    rebased_from: ProposalId | None = None
    runtime: str | None = None
    merges_left_out: int = 0
    model_override: str | None = None
    consent: str = ""


@dataclass(frozen=True, slots=True)
class RefusedTip:
    """A branch whose commit was refused. `source` is as in a tag, `by` its author, `remedy` the author's next step."""

    agent: AgentName
    source: str
    branch: str
    commit: str
    by: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class WaitingTips:
    """Branches of an agent that become proposals only later. `reason`: the limit that holds them back, and its end."""

    agent: AgentName
    reason: str


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """The result of a command about all agents for one of them.

    `accepted` names what hive will do to it; null: nothing, and `reason` says why. `error` and `remedy` are set if it
    should have been done and could not be.
    """

    agent: AgentName
    accepted: str | None = None
    reason: str | None = None
    error: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Remains:
    """What a destroyed agent left, which a spawn of the same name goes on with, and a purge removes.

    `at` is when it was destroyed, null if that event was pruned. `home_bytes` is the space of its home and state, null
    while it is not measured, or if it cannot be. `purging`: a purge of it was asked for and is not done yet.
    """

    agent: AgentName
    at: float | None
    deployed: ProposalId
    home_bytes: int | None
    messages: int
    generations: int
    purging: bool = False


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A request about an agent's turns that was carried out. `text` is for people; a harness may have written it."""

    agent: AgentName
    accepted: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The model of an agent's next turn. All but `approved` is as its harness reports it; "" is unknown.

    `override` is the operator's, which comes before `approved`, that of agent.toml; null: there is none. Without both
    the runtime has its own default. `problem`: why the CLI does not start.
    """

    agent: AgentName
    runtime: str = ""
    program: str = ""
    model: str = ""
    override: str | None = None
    approved: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The next step of one agent, and its reason. `until`: the end of a wait or a drain; `deploy`: the id in flight.

    `remedy`: what the operator does about an agent that hive does not bring up by itself.
    """

    agent: AgentName
    phase: str
    step: str
    reason: str
    deploy: ProposalId | None = None
    until: float | None = None
    conditions: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def idle(self) -> bool:
        """True if there is nothing to do."""
        return self.step == "none"


@dataclass(frozen=True, slots=True)
class WorkspaceView:
    """One repo of `[[workspace]]`: `state` is cloning, ready or failed, `text` the progress or the problem."""

    path: str
    state: str
    text: str = ""


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
    """The revision of hive that built the agent, if a rebuild would use another one."""
    disk_bytes: int | None = None
    """The space of the agent's files when they were last measured."""
    disk_limit_mib: int | None = None
    """The agent's own limit for that; None: it has that of the settings."""
    turn_since: float | None = None
    """When the turn began that runs, in Unix seconds; None between turns."""
    turn_limit: float | None = None
    """The seconds that this turn may take."""
    reason: str = ""
    """Why hive does its next step, or why there is none: as in the plan."""
    remedy: str = ""
    """What the operator does about an agent that hive does not bring up by itself."""
    paused: bool = False
    """True from `hive turn pause` to `hive turn resume`."""
    state_since: float | None = None
    """When the turn state began, in Unix seconds."""
    turn_until: float | None = None
    """When the harness goes on by itself, in Unix seconds."""
    turn_reason: str = ""
    """Why it waits, in the agent's own words."""
    turn_person: bool = False
    """It waits for what only a person can mend, by the agent's own words."""
    runtime: str = ""
    """The runtime that the harness drives, as it reports it; "" until it does."""
    program: str = ""
    """The version of the runtime's CLI."""
    model: str = ""
    """The model of the next turn."""
    model_override: str | None = None
    """The model that the operator set in place of that of agent.toml."""
    model_hidden: str | None = None
    """The model of agent.toml that the override hides."""
    runtime_problem: str = ""
    """Why the CLI does not start, in the agent's own words."""
    key_outside: str = ""
    """The kind of the key outside of the container by which the CLI reaches its model; "" if it has a login."""
    workspaces: tuple[WorkspaceView, ...] = ()
    """The repos that the agent begins with, in its own words."""
    declared: str = ""
    """How the host's configuration stands to git, if it declares the agent: `agrees`, `git moved`, `conflict`, ..."""
    grants: tuple[NetworkGrant, ...] = ()
    """What it may reach for a time, soonest end first."""


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
    """The rebuild of all agents, while it is in progress or after it failed."""
    unread: int = 0
    """Messages to the operator that are not marked as read."""
    questions: int = 0
    """Open questions to the operator."""
    dead_letters: int = 0
    """Dead letters of all inboxes."""
    disk: str = ""
    """The limit of an agent's files, and how it is kept."""
    programs: str = ""
    """The coding agents of the host that agents can run, and why others cannot; "" if agents have their own."""
    programs_path: str = ""
    """The PATH on which the daemon looks for them; "" if agents have their own."""
    programs_named: str = ""
    """Its HIVE_AGENT_PROGRAMS."""
    attention: dict[str, int] = field(default_factory=dict)
    """The number of rows of the attention list, by severity."""
    dashboard: str = ""
    """The origin of the dashboard; "" without one."""


@dataclass(frozen=True, slots=True)
class Diff:
    """The changes of a proposal. `settings` lists changed settings as (key, before, after), `words` the same in words,
    more rights first (meta.agent_toml.changes), then those that do nothing (meta.agent_toml.no_effect); `patch` is
    git's.

    `changes` has every changed file, whatever the patch shows; `files` their paths. `cut` is the reason why the patch
    does not show all of them, None if it does. `invisible` names the characters without ink that any text here holds.
    `complaint` is the reason why it cannot be built, if known. If the builder previews: `system` lists the differences
    of the built system, `shown` is the fingerprint that an approval sends back (None until the proposal is evaluated),
    `same` is True if the result is what runs now. `build` is the end of the build's log, while this daemon has it.
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
    changes: tuple[FileChange, ...] = ()
    cut: str | None = None
    invisible: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildLog:
    """The last lines of the build of an id, oldest first; none if this daemon has not built it, or long ago."""

    id: ProposalId
    agent: AgentName
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The changes between two commits of one agent, as in Diff. `base` and `sha` are full ids."""

    agent: AgentName
    base: str
    sha: str
    commits: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    files: tuple[str, ...]
    patch: str
    changes: tuple[FileChange, ...] = ()
    cut: str | None = None
    invisible: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsText:
    """agent.toml of one commit. `base` is the agent's newest deployed commit, the parent of an edit.

    `module` is agent.nix of the commit, "" if it has none; what is no UTF-8 in it is replaced.
    """

    agent: AgentName
    base: str
    sha: str
    text: str
    module: str = ""


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of a container's log. `cursor` is the beginning of the next part; None while the log is empty."""

    text: str
    cursor: str | None


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of the deploy log of all agents (meta `main`)."""

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
class AgentDigest:
    """What happened to one agent; without an agent to the daemon.

    `counts` by words such as "crashes". `newest` are some of these events, newest first; `more` are not among them.
    """

    agent: str | None
    counts: dict[str, int]
    newest: list[Event]
    more: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What happened between two Unix times.

    `complete` is false if events of that time were pruned. `approved_by` has the number of approvals of each approver,
    `left_out` the number of agents that are not in `agents`.
    """

    since: float
    until: float
    complete: bool
    events: int
    approved_by: dict[str, int]
    agents: list[AgentDigest]
    left_out: int


@dataclass(frozen=True, slots=True)
class LoginResult:
    """A step of a login. `text` is for the operator; the agent's CLI or the agent wrote it, and hive cleaned it.

    address      the operator logs in at `address`. `known`: it is the login page of a provider of models that
                 hive knows; without that the agent may have made it up. `login` names this login for the next steps
    again        the code was wrong, and the CLI asks for it again
    pending      the login is not done yet
    done         the agent is logged in
    cancelled    the login was cancelled
    logged-out   the agent has no login any more
    """

    agent: AgentName
    state: str
    text: str
    address: str | None = None
    known: bool = False
    login: str | None = None


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What the turns of an agent with one model took. `waited` counts those that were put back: an outage, a limit or a
    missing login. `cost` is in dollars.
    """

    model: str
    turns: int
    waited: int
    seconds: float
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: float
    unknown_lines: int = 0
    """Lines of the CLI that the harness does not know."""
    unreadable_rows: int = 0
    """Rows of the agent's event log that are no events."""


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """A budget of a day, or what of it is used. null: no limit."""

    turns: int | None = None
    tokens: int | None = None
    dollars: float | None = None


@dataclass(frozen=True, slots=True)
class AgentUsage:
    """What the turns of one agent took, by model, its budget, and what of that it used today.

    `over` says why its budget is used up, and `until` until when, in Unix seconds; null while it is not. `notes` say
    which part of the budget its runtime cannot be held to. `metered_tokens` are those that hive-egress counted, and so
    no claim of the agent; null if it counted none.
    """

    agent: AgentName
    models: list[ModelUsage]
    budget: BudgetUse
    today: BudgetUse
    over: str | None = None
    until: float | None = None
    notes: tuple[str, ...] = ()
    metered_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TurnUsage:
    """One turn. `source` is the sender of the message that began it; null: the runtime does not report it."""

    at: float
    runtime: str
    model: str
    source: str
    seconds: float
    ending: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost: float | None
    tools: dict[str, int]
    unknown_lines: int = 0
    unreadable_rows: int = 0


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What turns took since the beginning of a day (UTC), as the agents claim. `turns` are the newest of one agent."""

    since: float
    agents: list[AgentUsage]
    turns: list[TurnUsage]


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `seq` is `<database uuid>-<n>`; `data` is JSON."""

    seq: str
    at: float
    kind: str
    agent: str | None
    data: dict[str, Any] = field(default_factory=dict)
