"""The agents that exist for others: those in meta, and those that are being spawned.

A spawn is answered before its agent is in meta, which it is once its first start is healthy. From the answer on it is
listed, can be written to, and may use its own sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from meta.model import AgentEntry, Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha

_UNDER_WAY = frozenset({TagState.APPROVED, TagState.BUILDING})
_UNBORN = "unborn"
"""The identity of an agent of whose spawn no tag is left."""


class Roster:
    """The names and commits of these agents. `entries` returns the agents in meta."""

    def __init__(self, entries: Callable[[], Mapping[AgentName, AgentEntry]]) -> None:
        self._entries = entries
        self._spawning: dict[AgentName, Sha] = {}
        self._deploying: dict[AgentName, dict[ProposalId, Sha]] = {}
        self._births: dict[AgentName, str] = {}

    def note(self, agent: AgentName, deploys: Iterable[Deploy]) -> None:
        """Note the deploys of an agent as they are now."""
        deploys = tuple(deploys)
        spawns = [each for each in deploys if each.kind is DeployKind.SPAWN]
        newest = max(spawns, key=lambda each: each.id, default=None)
        if newest is not None:
            self._births[agent] = f"{newest.id}-{newest.sha}-{newest.requested_at}"
        self._births.setdefault(agent, _UNBORN)
        under_way = [each for each in deploys if each.state in _UNDER_WAY]
        self._deploying[agent] = {each.id: each.sha for each in under_way}
        if not under_way:
            del self._deploying[agent]
        spawn = next((each for each in under_way if each.kind is DeployKind.SPAWN), None)
        if spawn is None:
            self._spawning.pop(agent, None)
        else:
            self._spawning[agent] = spawn.sha

    def has(self, name: str) -> bool:
        """Return True if there is an agent of that name."""
        return name in self._entries() or name in self._spawning

    def names(self) -> list[AgentName]:
        """Return all names, sorted."""
        return sorted({*self._entries(), *self._spawning})

    def commit(self, agent: AgentName) -> Sha | None:
        """Return the commit that meta pins for an agent, or that its spawn deploys; None if there is no such agent."""
        entry = self._entries().get(agent)
        return entry.pin.sha if entry is not None else self._spawning.get(agent)

    def identity(self, agent: AgentName) -> str:
        """Return what tells an agent from an earlier one of its name; "" while its deploys are not known."""
        return self._births.get(agent, "")

    def deploying(self, agent: AgentName) -> Mapping[ProposalId, Sha]:
        """Return the commit of each id of an agent that is approved and not decided yet."""
        return self._deploying.get(agent, {})
