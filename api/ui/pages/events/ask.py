"""What can be asked of the events, and the input of the operation for it. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.operations.base import Input
from api.operations.views import EventsInput
from api.ui.pages.events.kinds import KINDS
from meta.errors import BadInput
from meta.names import AgentName, agent_name

SPANS = (("", "Any time"), ("hour", "Last hour"), ("day", "Last 24 hours"), ("week", "Last 7 days"))
"""The filters by time, each with its words."""
SECONDS = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400}
ROUND = 60
"""Seconds to which the beginning of a span is rounded, so that pages of one minute share what was read."""


class EventsAsked(Input):
    """What to show of the events."""

    agent: str = Field("", max_length=100, description="only those of this agent")
    kind: str = Field("", max_length=60, description="only those of this group, or of this kind")
    time: Literal["", "hour", "day", "week"] = Field("", description="only those of this span")
    before: str | None = Field(None, max_length=100, description="only older ones")


def query_of(asked: EventsAsked, now: float, limit: int) -> EventsInput:
    """Return the input of the operation. Raise BadInput for an agent that cannot be, or a kind that is not known."""
    kinds = KINDS.get(asked.kind)
    span = SECONDS.get(asked.time)
    return EventsInput(
        follow=False,
        limit=limit,
        agent=_agent(asked.agent.strip()),
        kind=",".join(sorted(kinds)) if kinds else asked.kind or None,
        since=None if span is None else max(0.0, now // ROUND * ROUND - span),
        before=asked.before,
    )


def _agent(name: str) -> AgentName | None:
    if not name:
        return None
    try:
        return agent_name(name)
    except BadInput as error:
        raise BadInput(f"{name[:40]!r} cannot be the name of an agent", "see the list of agents") from error
