"""What an operator does about an agent's turns: pause and resume them, end one, compact, begin anew, set the model.

No agent may call these: an agent that is paused must not resume itself, and the model is the operator's choice.
"""

from __future__ import annotations

from pydantic import Field

from api.operations.base import CHANGES, OPERATORS, READS, REMOVES, AgentField, Call, Input, Route, operation
from api.operations.lifecycle import Named
from reconciler.views import ModelStatus, TurnResult


class ModelInput(Input):
    """One agent, and its model."""

    agent: AgentField
    name: str | None = Field(None, max_length=200, description="null: that of agent.toml, or the runtime's default")


@operation("turn_pause", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/turn/pause"),))
async def pause(call: Call, asked: Named) -> TurnResult:
    """Stop the turn of an agent, and let it take no other until it is resumed. Its messages wait."""
    return await call.service.turns.pause(asked.agent, call.who)


@operation("turn_resume", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/turn/resume"),))
async def resume(call: Call, asked: Named) -> TurnResult:
    """Let a paused agent take turns again."""
    return await call.service.turns.resume(asked.agent, call.who)


@operation("turn_cancel", OPERATORS, REMOVES, routes=(Route("POST", "/api/agents/{agent}/turn/cancel"),), waits=True)
async def cancel(call: Call, asked: Named) -> TurnResult:
    """End the turn of an agent now. What it was about counts as done, and the agent goes on with its next message."""
    return await call.service.turns.cancel(asked.agent, call.who)


@operation("turn_compact", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/turn/compact"),), waits=True)
async def compact(call: Call, asked: Named) -> TurnResult:
    """Compact the conversation of an agent, and return once that is done. In a turn, queue it for after that."""
    return await call.service.turns.compact(asked.agent, call.who)


@operation(
    "turn_new_session", OPERATORS, REMOVES, routes=(Route("POST", "/api/agents/{agent}/turn/new-session"),), waits=True
)
async def new_session(call: Call, asked: Named) -> TurnResult:
    """Begin a new conversation with the next turn of an agent. The model forgets the one before."""
    return await call.service.turns.new_session(asked.agent, call.who)


@operation("model", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/model"),))
async def model(call: Call, asked: Named) -> ModelStatus:
    """Return the model of an agent's next turn, and where it is set."""
    return await call.service.turns.model(asked.agent)


@operation("set_model", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/model"),), waits=True)
async def set_model(call: Call, asked: ModelInput) -> TurnResult:
    """Set the model of an agent from its next turn on. It comes before that of agent.toml."""
    return await call.service.turns.set_model(asked.agent, asked.name, call.who)


TURNS = (pause, resume, cancel, compact, new_session, model, set_model)
