"""What the turns of agents took."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import OPERATORS, READS, AgentField, Call, Input, Route, operation
from reconciler.views import UsageReport

MAX_TIME = 1e11
MAX_TURNS = 500


class UsageInput(Input):
    """Of which agent, and from when on."""

    agent: AgentField | None = None
    since: float | None = Field(
        None, ge=0, le=MAX_TIME, description="from the day (UTC) of this time on, in Unix seconds; null means today"
    )
    turns: int = Field(0, ge=0, le=MAX_TURNS, description="how many of the agent's newest turns to add")


@operation("usage", OPERATORS, READS, routes=(Route("GET", "/api/usage"),))
async def usage(call: Call, asked: UsageInput) -> UsageReport:
    """Return what the turns of agents took, by model, as the agents claim, and their budgets."""
    return await call.service.usage(asked.agent, asked.since, asked.turns)


USAGE = (usage,)
