"""The values about what turns took."""

from __future__ import annotations

from dataclasses import dataclass

from meta.names import AgentName


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
