"""The values of `hive status`."""

from __future__ import annotations

from dataclasses import dataclass, field

from meta.model import NetworkGrant
from meta.names import AgentName, ProposalId
from reconciler.plan.rollout import Rollout


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
class WorkspaceView:
    """One repo of `[[workspace]]`: `state` is cloning, ready or failed, `text` the progress or the problem."""

    path: str
    state: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of an agent, all in the agent's own words: its own, with `parent` "", or a sub-agent.

    `state` is idle, running, paused, starting, waiting, unreachable or unknown; `scope` what it may write; `turn`
    counts its turns, `result` is how the last run ended (finished, paused, limit_reached, error), `ended` when.
    """

    name: str
    parent: str
    state: str
    scope: str = ""
    turn: int = 0
    result: str = ""
    ended: float | None = None


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
    turn_number: int | None = None
    """The number of that turn since the harness started; None between turns, or if the harness does not count."""
    context_tokens: int | None = None
    """Tokens in the conversation's context after its last turn, in the agent's own words; None: not known."""
    context_window: int | None = None
    """Tokens that this context may have; None: not known."""
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
    pods: tuple[PodView, ...] = ()
    """Its own pod, and below it its sub-agents, in its own words; none until its harness says so."""
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
