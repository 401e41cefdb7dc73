"""The tips of the branches from which proposals come, as discovery last read them. Commands ask for them as well."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meta.applied.source import Source
from meta.names import AgentName, Sha


class Branches:
    """The commit of each branch of each agent: of its push repo and of its work tree."""

    def __init__(self) -> None:
        self._tips: dict[AgentName, Mapping[Source, Sha]] = {}

    def note(self, agent: AgentName, tips: Mapping[Source, Sha]) -> None:
        """Remember the tips of one agent."""
        self._tips[agent] = MappingProxyType(dict(tips))

    def of(self, agent: AgentName) -> Mapping[Source, Sha]:
        """Return the tips of one agent; none before discovery has looked at it."""
        return self._tips.get(agent, MappingProxyType({}))

    def forget(self, agent: AgentName) -> None:
        """Drop the tips of a destroyed agent."""
        self._tips.pop(agent, None)
