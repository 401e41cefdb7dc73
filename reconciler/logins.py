"""Tells that an agent has no login, and that it has one again: when its harness says so, each change once."""

from __future__ import annotations

from meta.names import AgentName
from meta.wire.link import TurnState
from reconciler.observed import AgentObserved
from reconciler.world import World

_LOGGED_IN = {TurnState.IDLE, TurnState.THINKING, TurnState.COMPACTING, TurnState.PARKED, TurnState.OVER_BUDGET}
"""A drained harness says nothing about its login."""


async def note(world: World, agent: AgentName, seen: AgentObserved) -> None:
    """Compare what the harness says with what was told last; what is told and remembered is one transaction."""
    turn, told = seen.link.turn if seen.link.connected else None, seen.memo.needs_login
    if turn is TurnState.NEEDS_LOGIN and not told:
        await world.memory.tell(agent, "agent_needs_login", world.clock(), needs_login=True)
    elif told and turn in _LOGGED_IN:
        await world.memory.tell(agent, "agent_logged_in", world.clock(), needs_login=False)
    else:
        return
    world.events.told()
