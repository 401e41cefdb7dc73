"""Commands about all agents at once: stop and start. Each agent has its own outcome; one failure ends nothing.

A stop of all marks in meta's run.json whom it stopped. So a start of all leaves alone what an operator stopped by name.
"""

from __future__ import annotations

from meta.errors import HiveError
from meta.model import RunState
from meta.names import AgentName
from reconciler.agents.lifecycle import Lifecycle
from reconciler.loop.loop import Look, Reconciler
from reconciler.views import AgentOutcome

_TRIED_AGAIN = frozenset({"failed", "rollback-failed"})
"""Phases of agents that should run and that a start tries again. What else is given up needs another command."""
_HELD = frozenset({"disagrees", "damaged", "over-disk"})


class Swarm:
    """The commands about all agents."""

    def __init__(self, loop: Reconciler, agents: Lifecycle) -> None:
        self._loop = loop
        self._agents = agents

    async def stop(self, by: str, now: bool = False) -> list[AgentOutcome]:
        """Stop every agent that should run, the manager too. `now` skips the drains."""
        look = await self._loop.look()
        return [outcome for name in _names(look) for outcome in await self._stop(name, look, by, now)]

    async def start(self, by: str) -> list[AgentOutcome]:
        """Start what a stop of all stopped, and try those again that hive gave up."""
        look = await self._loop.look()
        return [await self._start(name, look, by) for name in _names(look) if name in look.desired.agents]

    async def _stop(self, agent: AgentName, look: Look, by: str, now: bool) -> list[AgentOutcome]:
        if agent not in look.desired.agents:
            if look.plan.decisions[agent].deploy is None:
                return []  # its spawn failed: nothing runs
            error = "it is being spawned, and meta does not know it yet"
            return [AgentOutcome(agent, error=error, remedy=f"`hive stop {agent}` once it runs")]
        if look.desired.run_of(agent).state is RunState.STOPPED:
            return [AgentOutcome(agent, reason="it is stopped already")]
        try:
            await self._agents.stop(agent, by, now, with_all=True)
        except HiveError as error:
            return [AgentOutcome(agent, error=error.summary, remedy=error.hint)]
        return [AgentOutcome(agent, "stop")]

    async def _start(self, agent: AgentName, look: Look, by: str) -> AgentOutcome:
        run, decision = look.desired.run_of(agent), look.plan.decisions[agent]
        if run.state is RunState.STOPPED and not run.with_all:
            return AgentOutcome(agent, reason=f"it was stopped by name; `hive start {agent}` starts it")
        if decision.phase in _HELD:
            return AgentOutcome(agent, error=decision.reason, remedy=f"see `hive plan {agent}`")
        if run.state is RunState.RUNNING and decision.phase not in _TRIED_AGAIN:
            return AgentOutcome(agent, reason=f"it should run already, and is {decision.phase}")
        try:
            await self._agents.start(agent, by)
        except HiveError as error:
            return AgentOutcome(agent, error=error.summary, remedy=error.hint)
        return AgentOutcome(agent, "start")


def _names(look: Look) -> list[AgentName]:
    """Return every agent that meta or a spawn knows."""
    return [name for name, decision in look.plan.decisions.items() if decision.phase != "absent"]
