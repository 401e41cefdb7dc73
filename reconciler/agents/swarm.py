"""Commands about all agents at once: stop, start, go down. Each agent has its own outcome; one failure ends nothing.

A stop of all marks in meta's run.json whom it stopped. So a start of all leaves alone what an operator stopped by name.
"""

from __future__ import annotations

import asyncio

from meta.errors import HiveError
from meta.model import RunState
from meta.names import AgentName
from reconciler.agents.lifecycle import Lifecycle
from reconciler.loop.loop import Look, Reconciler
from reconciler.views import AgentOutcome
from reconciler.world import World

LOOK_SECONDS = 0.1
"""Seconds between two looks at what still runs."""
KILL_SECONDS = 40.0
"""Seconds, beside the drain and the grace, after which an agent that was killed does not end."""

_TRIED_AGAIN = frozenset({"failed", "rollback-failed"})
"""Phases of agents that should run and that a start tries again. What else is given up needs another command."""
_HELD = frozenset({"disagrees", "damaged", "over-disk"})


class Swarm:
    """The commands about all agents."""

    def __init__(self, world: World, loop: Reconciler, agents: Lifecycle) -> None:
        self._world = world
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

    async def down(self, by: str, now: bool = False) -> list[AgentOutcome]:
        """Stop everything that runs, and let nothing begin until the daemon ends. Desired states stay as they are.

        If an agent does not end, or the caller is cancelled, the hive goes on as before. `now` skips the drains.
        """
        observer = self._world.observer
        running = sorted(name for name in observer.names() if observer.observe(name).container.running)
        observer.go_down(True)
        try:
            for name in observer.names():
                if now:
                    self._world.drains.skip(name)
                self._loop.interrupt(name)
            left = await self._until_down()
        except BaseException:
            await self._stay_up()
            raise
        if left:
            await self._stay_up()
        else:
            await self._world.events.append("hive_down", None, {"by": by, "agents": running})
        remedy = "see the daemon's log, then try again"
        return [
            AgentOutcome(name, error="it does not end", remedy=remedy) if name in left else AgentOutcome(name, "stop")
            for name in running
        ]

    async def _until_down(self) -> frozenset[AgentName]:
        """Wait until nothing runs and no worker is busy. Return the agents that run at the deadline."""
        config, observer = self._world.config, self._world.observer
        deadline = self._world.clock() + config.drain_deadline + config.turn_grace + config.stop_grace + KILL_SECONDS
        while True:
            running = frozenset(name for name in observer.names() if observer.observe(name).container.running)
            if not running and not self._loop.queue.depth():  # a step that was decided before may still begin
                return running
            if self._world.clock() > deadline:
                return running
            await asyncio.sleep(LOOK_SECONDS)

    async def _stay_up(self) -> None:
        self._world.observer.go_down(False)
        for name in self._world.observer.names():
            self._loop.look_now(name)

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
