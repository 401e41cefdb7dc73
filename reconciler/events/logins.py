"""Tells that an agent has no login, and that it has one again: when its harness says so and stays with it.

The harness is the agent's own, so it may say one thing and the other as fast as it can.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from meta.names import AgentName
from meta.wire.link import TurnState
from reconciler.plan.observed import AgentObserved
from reconciler.world import World

STABLE = 2.0
"""Seconds for which the harness says the same before that is told."""
APART = 300.0
"""Seconds from one missing login that is told to the next one, of one agent."""

_LOGGED_IN = {TurnState.IDLE, TurnState.THINKING, TurnState.COMPACTING, TurnState.PARKED, TurnState.OVER_BUDGET}
"""A drained harness says nothing about its login."""


class Logins:
    """One per daemon. `clock` gives seconds that only grow."""

    def __init__(self, world: World, clock: Callable[[], float] = time.monotonic) -> None:
        self._w = world
        self._clock = clock
        self._changed: dict[AgentName, float] = {}
        self._told: dict[AgentName, float] = {}

    async def note(self, agent: AgentName, seen: AgentObserved) -> float | None:
        """Compare what the harness says with what was told last; what is told and remembered is one transaction.

        Returns after how many seconds it wants to look again; None: when something changes.
        """
        turn, told, now = seen.link.turn if seen.link.connected else None, seen.memo.needs_login, self._clock()
        missing = turn is TurnState.NEEDS_LOGIN
        if missing == told or not (missing or turn in _LOGGED_IN):
            self._changed.pop(agent, None)
            return None
        due = self._changed.setdefault(agent, now) + STABLE
        if missing and agent in self._told:
            due = max(due, self._told[agent] + APART)
        if now < due:
            return due - now
        del self._changed[agent]
        if missing:
            self._told[agent] = now
        kind = "agent_needs_login" if missing else "agent_logged_in"
        await self._w.memory.tell(agent, kind, self._w.clock(), needs_login=missing)
        self._w.events.on_append()
        return None
