"""The commit that each agent runs with.

It is the one that meta pins. While an id is deployed it is the id's, from the start of its container on: so what goes
with a commit switches with the container, and goes back with it if the id fails.
"""

from __future__ import annotations

from collections.abc import Callable

from meta.names import AgentName, Sha
from reconciler.observe.roster import Roster
from reconciler.plan.observed import Container, Launch

ContainerOf = Callable[[AgentName], Container]
"""Returns an agent's container as its backend sees it."""


class RunningCommits:
    """The commits."""

    def __init__(self, roster: Roster, observe: ContainerOf) -> None:
        self._roster = roster
        self._observe = observe
        self._launches: dict[AgentName, Launch] = {}

    def runs(self, agent: AgentName) -> bool:
        """Return True while the agent's container runs."""
        return self._observe(agent).running

    def begin(self, agent: AgentName, launch: Launch) -> None:
        """Note that the agent's container starts now."""
        self._launches[agent] = launch

    def forget(self, agent: AgentName) -> None:
        """Drop an agent that was destroyed."""
        self._launches.pop(agent, None)

    def of(self, agent: AgentName) -> Sha | None:
        """Return the commit that an agent runs with, or starts with next; None if there is no such agent."""
        deploying = self._roster.deploying(agent)
        launch = (self._launches.get(agent) or self._observe(agent).launch) if deploying else None
        if launch is not None and launch.deploy is not None and launch.deploy in deploying:
            return deploying[launch.deploy]
        return self._roster.commit(agent)
