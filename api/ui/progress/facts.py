"""What is known about one deploy, and when its steps were, by the agent's events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.views import AgentStatus, Card, Event, PlanRow

UNDER_WAY = ("approved", "building")
"""The states of a card that is being deployed."""

KINDS = (
    "proposal_approved",
    "deploy_started",
    "deploy_succeeded",
    "deploy_failed",
    "agent_started",
    "agent_stopped",
    "rollback_started",
    "rollback_succeeded",
    "rollback_failed",
)
"""The kinds of events that say when a step was."""

GENERATION = 8
"""Characters of a generation that are shown."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one deploy. `plan` is the agent's, whatever deploy it is about; `events` are the agent's."""

    card: Card
    plan: PlanRow | None = None
    agent: AgentStatus | None = None
    events: Sequence[Event] = ()
    build: tuple[str, ...] = ()

    @property
    def under_way(self) -> bool:
        """True from the approval to the end."""
        return self.card.state in UNDER_WAY

    @property
    def its_plan(self) -> PlanRow | None:
        """The plan of the agent, if it is about this deploy."""
        return self.plan if self.plan is not None and self.plan.deploy == self.card.id else None


@dataclass(frozen=True, slots=True)
class Times:
    """When the steps of a deploy were, in Unix seconds; None if no event says so. Events may be pruned.

    `generation` is what was started for it. `back` is the way back to what ran before, `back_failed` why it failed.
    """

    approved: float | None = None
    building: float | None = None
    stopped: float | None = None
    started: float | None = None
    over: float | None = None
    generation: str = ""
    back: float | None = None
    back_end: float | None = None
    back_failed: str = ""


def times_of(facts: Facts) -> Times:
    """Return the times of a deploy."""
    card = facts.card
    mine = {event.kind: event for event in facts.events if _is_of(event, card)}

    def at(*kinds: str) -> float | None:
        return next((mine[kind].at for kind in kinds if kind in mine), None)

    building, started = at("deploy_started"), at("agent_started")
    over = at("deploy_succeeded", "deploy_failed") or (None if card.resolved_at is None else float(card.resolved_at))
    back_failed = mine.get("rollback_failed")
    start = mine.get("agent_started")
    return Times(
        approved=at("proposal_approved"),
        building=building,
        stopped=_last_stop(facts.events, building, started or over),
        started=started,
        over=None if facts.under_way else over,
        generation=str(start.data.get("generation", ""))[:GENERATION] if start is not None else "",
        back=at("rollback_started"),
        back_end=at("rollback_succeeded", "rollback_failed"),
        back_failed=str(back_failed.data.get("reason", "")) if back_failed is not None else "",
    )


def _is_of(event: Event, card: Card) -> bool:
    """Return True if an event is about this deploy. The ids 0 of agents differ by the agent."""
    if event.agent != card.agent or event.kind not in KINDS:
        return False
    key = {"agent_started": "deploy", "rollback_succeeded": "from", "rollback_failed": "from"}.get(event.kind, "id")
    return event.data.get(key) == card.id


def _last_stop(events: Iterable[Event], begin: float | None, end: float | None) -> float | None:
    """Return when the agent was stopped for the deploy: the last time between two of its events."""
    if begin is None:
        return None
    last = float("inf") if end is None else end
    stops = [event.at for event in events if event.kind == "agent_stopped" and begin <= event.at <= last]
    return stops[-1] if stops else None
