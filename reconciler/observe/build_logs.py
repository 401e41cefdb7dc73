"""The last lines of each build, kept in memory. The tag of a failed deploy keeps its own copy."""

from __future__ import annotations

from collections import OrderedDict, deque

from meta.names import AgentName, ProposalId
from meta.text import one_line

LINES = 50
BUILDS = 100
"""Builds whose lines are kept, the newest ones."""


class BuildLogs:
    """The last lines of the newest builds. They may be hostile, so control characters are removed, and secrets too."""

    def __init__(self) -> None:
        self._tails: OrderedDict[tuple[AgentName, ProposalId], deque[str]] = OrderedDict()

    def note(self, agent: AgentName, id: ProposalId, line: str) -> None:
        """Keep a line that a builder wrote."""
        tail = self._tails.setdefault((agent, id), deque(maxlen=LINES))
        tail.append(one_line(line))
        self._tails.move_to_end((agent, id))
        while len(self._tails) > BUILDS:
            self._tails.popitem(last=False)

    def tail(self, agent: AgentName, id: ProposalId) -> tuple[str, ...]:
        """Return the last lines, oldest first."""
        return tuple(self._tails.get((agent, id), ()))
