"""What was seen last of each agent, and of which of them something changed since. For views: a whole look is dear.

Every change is a hint, so an agent without one is as it was seen, but for what changes silently (a file that a person
removes): the next sweep finds that, at most `resync` seconds later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from meta.desired.view import MetaView
from meta.model import Deploy
from meta.names import AgentName
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved


@dataclass(frozen=True, slots=True)
class Basis:
    """What each decision rests on beside its own agent: meta, the revision of the builder, whether the hive ends."""

    meta: MetaView
    revision: str
    goes_down: bool

    def is_same_for(self, agent: AgentName, other: Basis) -> bool:
        """Return True if the other basis leads to the same decision about the agent."""
        if (self.revision, self.goes_down) != (other.revision, other.goes_down):
            return False
        return self.meta is other.meta or self.meta.parts(agent) == other.meta.parts(agent)


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """One agent as it was seen. `begun` is the number of the look."""

    observed: AgentObserved
    deploys: tuple[Deploy, ...]
    decision: Decision
    basis: Basis
    begun: int


class LastSeen:
    """What was seen last. Looks and hints are numbered in the order in which they began."""

    def __init__(self) -> None:
        self._count = 0
        self._seen: dict[AgentName, AgentSeen] = {}
        self._touched: dict[AgentName, int] = {}

    def all(self) -> dict[AgentName, AgentSeen]:
        """Return each agent as it was seen last, by name."""
        return {agent: self._seen[agent] for agent in sorted(self._seen)}

    def begin(self) -> int:
        """Return the number of a look that begins now."""
        self._count += 1
        return self._count

    def touch(self, agent: AgentName) -> None:
        """Note that something about the agent may change: what looks saw that began before counts no more."""
        self._touched[agent] = self.begin()

    def keep(self, agent: AgentName, seen: AgentSeen) -> None:
        """Keep what a look saw, if no later one saw the agent."""
        before = self._seen.get(agent)
        if before is None or before.begun <= seen.begun:
            self._seen[agent] = seen

    def keep_only(self, agents: Collection[AgentName], begun: int) -> None:
        """Forget the agents that a look at all did not see, unless something came up since it began."""
        seen_at = {agent: seen.begun for agent, seen in self._seen.items()}
        for known, at in ((self._seen, seen_at), (self._touched, dict(self._touched))):
            for gone in at.keys() - set(agents):
                if at[gone] < begun:
                    del known[gone]

    def stale(self, basis: Basis, busy: Collection[AgentName]) -> frozenset[AgentName]:
        """Return the agents to look at again: of them, or of what their decisions rest on, something changed.

        `busy` are those on which a step is done now.
        """
        return frozenset(self._stale({*self._seen, *self._touched, *basis.meta.desired.agents}, basis, busy))

    def _stale(self, agents: Iterable[AgentName], basis: Basis, busy: Collection[AgentName]) -> Iterator[AgentName]:
        for agent in agents:
            seen = self._seen.get(agent)
            if (
                seen is None
                or agent in busy
                or self._touched.get(agent, 0) > seen.begun
                or not seen.basis.is_same_for(agent, basis)
            ):
                yield agent
            elif seen.basis.meta is not basis.meta:
                self._seen[agent] = replace(seen, basis=basis)  # which the next call compares by identity
