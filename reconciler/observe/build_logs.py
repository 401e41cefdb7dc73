"""The last lines of each build, while the daemon lives. What remains of a failed one is in its tag."""

from __future__ import annotations

from collections import OrderedDict, deque

from meta.names import AgentName, ProposalId
from meta.text import one_line

LINES = 50
BUILDS = 100
"""The newest are kept."""


class BuildLogs:
    """Lines of hostile origin: kept scrubbed, and only so many."""

    def __init__(self) -> None:
        self._tails: OrderedDict[tuple[AgentName, ProposalId], deque[str]] = OrderedDict()

    def note(self, agent: AgentName, id: ProposalId, line: str) -> None:
        """A builder wrote this."""
        tail = self._tails.setdefault((agent, id), deque(maxlen=LINES))
        tail.append(one_line(line))
        self._tails.move_to_end((agent, id))
        while len(self._tails) > BUILDS:
            self._tails.popitem(last=False)

    def tail(self, agent: AgentName, id: ProposalId) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._tails.get((agent, id), ()))
