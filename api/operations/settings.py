"""What one agent is set to, what changed between its commits, and the edit of its settings."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import OPERATORS, AgentField, Call, Input, Route, operation
from api.operations.lifecycle import Words
from meta.agent_toml.shape import MAX_BYTES
from reconciler.views import Card, Change, SettingsText


class Between(Input):
    """Two commits."""

    agent: AgentField
    first: str | None = Field(None, alias="from", description="an id or a commit; else the one before")
    last: str | None = Field(None, alias="to", description="an id or a commit; else what is deployed")


class At(Input):
    """One commit."""

    agent: AgentField
    at: str | None = Field(None, description="an id or a commit; else what is deployed")


class Editing(Input):
    """A new agent.toml."""

    agent: AgentField
    text: str = Field(max_length=MAX_BYTES, description="the whole new agent.toml")
    description: str = Words
    base: str | None = Field(None, description="the deployed commit that the text was made from")


@operation("change", OPERATORS, routes=(Route("GET", "/api/agents/{agent}/diff"),))
async def change(call: Call, asked: Between) -> Change:
    """What changed from one id or commit to another."""
    return await call.service.diffs.change(asked.agent, asked.first, asked.last)


@operation("settings", OPERATORS, routes=(Route("GET", "/api/agents/{agent}/settings"),))
async def settings(call: Call, asked: At) -> SettingsText:
    """agent.toml as it is deployed, or as it was in an id or a commit."""
    return await call.service.settings.text(asked.agent, asked.at)


@operation("edit", OPERATORS, routes=(Route("POST", "/api/agents/{agent}/settings", status=201),))
async def edit(call: Call, asked: Editing) -> Card:
    """Commit a new agent.toml on top of what is deployed, and propose it."""
    deploy = await call.service.settings.propose(asked.agent, call.who, asked.text, asked.description, asked.base)
    return await call.service.cards.of(deploy)


SETTINGS = (change, settings, edit)
