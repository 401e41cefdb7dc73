"""The way out as the operator sees it: `hive network`."""

from __future__ import annotations

from dataclasses import dataclass, field

from meta.names import AgentName, ProposalId
from meta.network.report import ConnectionRecord
from reconciler.network.reach import RuleRow
from reconciler.network.requests import NetworkRequest


@dataclass(frozen=True, slots=True)
class RefusedHost:
    """A host and port that an agent wanted and may not reach. Times are Unix seconds.

    `problem` says why no rule would help; "" if one would.
    """

    host: str
    port: int
    rule: str
    """The rule that a person would give for it: for port 443 the name alone."""
    count: int
    first: float
    last: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NetworkView:
    """The way out of one agent.

    `open`, `sent`, `received` and `verdicts` are the sums of hive-egress since it first saw the agent, bytes as the
    agent sees them. `requests` are pending. `keys` are the names of the keys that it may use without having them.
    """

    agent: AgentName
    reach: tuple[RuleRow, ...]
    open: int = 0
    sent: int = 0
    received: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    refused: tuple[RefusedHost, ...] = ()
    requests: tuple[NetworkRequest, ...] = ()
    keys: tuple[str, ...] = ()
    held: str = ""
    """Why its keys are closed; "" if they are not."""
    notes: tuple[str, ...] = ()
    """What is wrong with the way out of all agents: the operator's file, a key, hive-egress."""
    problems: tuple[str, ...] = ()
    """What is wrong with its way out."""
    repos: dict[str, str] = field(default_factory=dict)
    """Where those of its keys that are of kind git lead, by name: git in its container asks them instead."""


@dataclass(frozen=True, slots=True)
class Connections:
    """The connections of one agent after a number, and those that go on. `next` is the number to go on from.

    A connection has its number from its end on: before, it is 0.
    """

    agent: AgentName
    connections: tuple[ConnectionRecord, ...]
    next: int


@dataclass(frozen=True, slots=True)
class NetworkAllowed:
    """What came of `hive network allow`. Either `until`, in Unix seconds, or `proposal` is there.

    `answered` are the requests of the agent that this answers; `notes` what else is to know.
    """

    agent: AgentName
    rule: str
    until: int | None = None
    proposal: ProposalId | None = None
    answered: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """What came of a denial, or of a rule that was taken back."""

    agent: AgentName
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Texts made of what an agent was refused. Nothing of it is in force.

    `allow` are the entries for agent.toml; `operator_file` the text for network.toml, "" without a group;
    `agent_toml` the text for agent.toml. `notes` say what was left out.
    """

    agent: AgentName
    rules: tuple[str, ...]
    allow: tuple[str, ...]
    agent_toml: str
    operator_file: str = ""
    notes: tuple[str, ...] = ()
