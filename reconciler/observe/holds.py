"""What keeps agents from turns by hive's will: the operator's pause, and a budget that is used up.

The pause is in run.json, so it survives the daemon, a deploy and a lost database. A budget is counted from hive's own
store; the part that counts it sets the hold again after each start of the daemon.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from meta.names import AgentName
from meta.text import one_line
from meta.wire.link import Hold

REASON_LIMIT = 500
FREE = Hold(releases=True)
"""Nothing keeps the agent from turns."""


@dataclass(frozen=True, slots=True)
class _Budget:
    until: float | None
    reason: str


class Holds:
    """The holds of all agents. `paused` returns True for an agent that the operator paused.

    `changed` is called with the agent after each change of its budget's hold.
    """

    def __init__(
        self,
        paused: Callable[[AgentName], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
        changed: Callable[[AgentName], None] = lambda _: None,
    ) -> None:
        self._changed = changed
        self._paused = paused
        self._clock = clock
        self._budgets: dict[AgentName, _Budget] = {}

    def of(self, agent: AgentName) -> Hold:
        """Return all that keeps the agent from turns now, as its harness gets it."""
        paused, budget = self._paused(agent), self._budgets.get(agent)
        if budget is None or (budget.until is not None and budget.until <= self._clock()):
            return FREE.model_copy(update={"paused": True, "reason": "paused by the operator"}) if paused else FREE
        return Hold(paused=paused, over_budget=True, until=budget.until, reason=budget.reason, releases=True)

    def set_over_budget(self, agent: AgentName, until: float | None, reason: str) -> None:
        """Hold the agent until the Unix time `until` (None: until it is cleared), because its budget is used up."""
        self._budgets[agent] = _Budget(until, one_line(reason, REASON_LIMIT))
        self._changed(agent)

    def clear_over_budget(self, agent: AgentName) -> None:
        """End the hold of the budget."""
        self._budgets.pop(agent, None)
        self._changed(agent)
