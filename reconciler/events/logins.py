"""Report that an agent has lost its login, or has it again, once its harness reported that state for STABLE seconds.

The harness is the agent's own, so it may report one state and then the other as fast as it can.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from meta.errors import DiskFull
from meta.names import AgentName
from meta.wire.link import TurnState
from reconciler.observe.memory import Memory
from reconciler.plan.observed import AgentObserved

log = logging.getLogger(__name__)
STABLE = 2.0
"""Seconds for which the harness must report the same state before hive reports it."""
APART = 300.0
"""Seconds between two reports of one agent that its login is missing."""

_LOGGED_IN = {TurnState.IDLE, TurnState.THINKING, TurnState.COMPACTING, TurnState.PARKED, TurnState.OVER_BUDGET}
"""A drained harness does not report its login."""


class Logins:
    """The logins of all agents. `clock` gives Unix seconds, `monotonic` gives seconds that only grow."""

    def __init__(
        self, memory: Memory, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._monotonic = monotonic
        self._changed_at: dict[AgentName, float] = {}
        self._missing_at: dict[AgentName, float] = {}

    async def note(self, agent: AgentName, seen: AgentObserved) -> float | None:
        """Compare the harness's state with the last report. Report a change and remember it in one transaction.

        Return the seconds after which to call it again; None: call it when something changes.
        """
        turn, now = seen.link.turn if seen.link.connected else None, self._monotonic()
        missing = turn is TurnState.NEEDS_LOGIN
        if missing == seen.memo.needs_login or not (missing or turn in _LOGGED_IN):
            self._changed_at.pop(agent, None)
            return None
        due = self._changed_at.setdefault(agent, now) + STABLE
        if missing and agent in self._missing_at:
            due = max(due, self._missing_at[agent] + APART)
        if now < due:
            return due - now
        del self._changed_at[agent]
        if missing:
            self._missing_at[agent] = now
        kind = "agent_needs_login" if missing else "agent_logged_in"
        try:
            await self._memory.change_with_event(agent, kind, self._clock(), needs_login=missing)
        except DiskFull as error:  # nothing else about the agent waits for that
            log.warning("%s: the event %s has no room: %s", agent, kind, error.summary)
            return STABLE
        return None
