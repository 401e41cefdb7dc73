"""The daemon's knowledge about the disk, in memory: what each agent holds, and stops that could not be recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meta.names import AgentName
from reconciler.plan.observed import DiskUse


class DiskMemory:
    """Values by agent. They are measured again after a start; a stop that was not recorded by then is lost."""

    def __init__(self) -> None:
        self._uses: dict[AgentName, DiskUse] = {}
        self._asked: dict[AgentName, str] = {}

    def use(self, agent: AgentName) -> DiskUse | None:
        """Return what the agent held when it was last measured; None if it was not."""
        return self._uses.get(agent)

    def note(self, uses: Mapping[AgentName, DiskUse]) -> frozenset[AgentName]:
        """Replace all measurements. Return the agents that may run now and might not before, or the reverse."""
        before, self._uses = self._uses, dict(uses)
        return frozenset(
            agent for agent in {*before, *uses} if _is_over(before.get(agent)) != _is_over(self._uses.get(agent))
        )

    def any_over(self) -> bool:
        """Return True if an agent may not run for what it holds."""
        return any(use.over for use in self._uses.values())

    def uses(self) -> Mapping[AgentName, DiskUse]:
        """Return what every agent held when they were last measured."""
        return self._uses

    def ask_stop(self, agent: AgentName, by: str) -> None:
        """Stop the agent, though that cannot be recorded now."""
        self._asked[agent] = by

    def withdraw_stop(self, agent: AgentName) -> None:
        """Forget the stop: it is recorded, or a later command replaces it."""
        self._asked.pop(agent, None)

    def stop_asked(self, agent: AgentName) -> bool:
        """Return True if a stop of the agent is not recorded."""
        return agent in self._asked

    def asked_stops(self) -> Iterable[tuple[AgentName, str]]:
        """Return the agents whose stop is not recorded, each with who asked."""
        return tuple(self._asked.items())


def _is_over(use: DiskUse | None) -> bool:
    return use is not None and use.over
