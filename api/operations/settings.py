"""The settings of an agent: show them, compare commits, and edit them."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import CHANGES, OPERATORS, READS, AgentField, Call, Input, Route, operation
from api.operations.lifecycle import DESCRIPTION
from meta.agent_toml.shape import MAX_BYTES
from meta.git.diff import CONTEXT, MOST_CONTEXT
from meta.names import ProposalId
from reconciler.views import Card, Change, SettingsText


class ChangeInput(Input):
    """Two commits."""

    agent: AgentField
    first: str | None = Field(None, alias="from", description="an id or a commit; else the previous one")
    last: str | None = Field(None, alias="to", description="an id or a commit; else what is deployed")
    path: str | None = Field(None, description="only this file, of which more is shown")
    context: int = Field(
        CONTEXT, ge=0, le=MOST_CONTEXT, description="unchanged lines that the patch shows around a change"
    )


class SettingsInput(Input):
    """One commit."""

    agent: AgentField
    at: str | None = Field(None, description="an id or a commit; else what is deployed")


class EditInput(Input):
    """A new agent.toml."""

    agent: AgentField
    text: str = Field(max_length=MAX_BYTES, description="the whole new agent.toml")
    description: str = DESCRIPTION
    base: str | None = Field(None, description="the deployed commit that the text is based on")
    replaces: ProposalId | None = Field(None, ge=0, description="the pending edit whose place this one takes")


@operation("change", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/diff"),))
async def change(call: Call, asked: ChangeInput) -> Change:
    """Return what changed from one id or commit to another."""
    return await call.service.diffs.change(asked.agent, asked.first, asked.last, asked.path, asked.context)


@operation("settings", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/settings"),))
async def settings(call: Call, asked: SettingsInput) -> SettingsText:
    """Return agent.toml as it is deployed, or as it was in an id or a commit."""
    return await call.service.settings.text(asked.agent, asked.at)


@operation("edit", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/settings", status=201),))
async def edit(call: Call, asked: EditInput) -> Card:
    """Commit a new agent.toml on top of what is deployed, and propose it."""
    deploy = await call.service.settings.propose(
        asked.agent, call.who, asked.text, asked.description, asked.base, asked.replaces
    )
    return await call.service.cards.of(deploy)


SETTINGS = (change, settings, edit)
