"""The values about what happened: events, their digest, logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meta.names import ProposalId


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `seq` is `<database uuid>-<n>`; `data` is JSON."""

    seq: str
    at: float
    kind: str
    agent: str | None
    data: dict[str, Any] = field(default_factory=dict)


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
class LogPart:
    """A part of a container's log. `cursor` is the beginning of the next part; None while the log is empty."""

    text: str
    cursor: str | None
