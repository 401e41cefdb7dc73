"""The plan as it is shown: the next step and its reason, one row per agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from meta.errors import NotFound
from meta.names import AgentName
from reconciler.loop.loop import Reconciler
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.rollout import Rollout
from reconciler.views import PlanRow
from reconciler.world import World


class PlanQuery:
    """The plan of all agents, or of one. `rollout` returns the last rebuild of all agents."""

    def __init__(self, world: World, loop: Reconciler, rollout: Callable[[], Rollout | None]) -> None:
        self._world = world
        self._loop = loop
        self._rollout = rollout

    async def __call__(
        self, agent: AgentName | None = None, *, or_last: bool = False, again: bool = True
    ) -> list[PlanRow]:
        """Return the rows, all from one look; without `again` from a glance. Raise NotFound.

        `or_last` is that of Reconciler.look.
        """
        if agent is not None and agent not in self._world.observer.names():
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        look = await self._loop.look(or_last=or_last) if again else await self._loop.glance()
        decisions = look.plan.decisions
        rows = [self._row(name, decision) for name, decision in decisions.items() if agent in (None, name)]
        rollout = self._rollout()
        if rollout is None or rollout.over:
            return rows
        waits = "waits for its turn in `hive rebuild --all`"
        return [
            replace(row, conditions=(*row.conditions, waits)) if row.agent in rollout.waiting else row for row in rows
        ]

    def _row(self, agent: AgentName, decision: Decision) -> PlanRow:
        return plan_row(agent, decision, self._loop.trouble.get(agent), self._loop.transitions.since(agent))


def plan_row(agent: AgentName, decision: Decision, trouble: str | None = None, since: float | None = None) -> PlanRow:
    """Return a decision as a row of `hive plan`.

    `trouble` is the last error of the agent's worker. `since` is the time when its phase began.
    """
    return PlanRow(
        agent=agent,
        phase=decision.phase,
        step=decision.step.name,
        reason=decision.reason,
        deploy=decision.deploy,
        until=_until(decision, since),
        conditions=(*decision.conditions, *((trouble,) if trouble else ())),
        remedy=decision.remedy,
    )


def _until(decision: Decision, since: float | None) -> float | None:
    match decision.step:
        case steps.Wait(until=until):
            return until
        case steps.Drain(deadline=deadline) if since is not None:
            return since + deadline
        case _:
            return None
