"""The end of a container's log, for an event or for the tag of a failed deploy."""

from __future__ import annotations

from meta.names import AgentName
from meta.text import scrub
from reconciler.backends.base import Backend

HARNESS = "hive-harness["
"""Marks the harness's own lines in a log that a whole system writes to (nix/modules/agent/harness.nix)."""

KEPT = 20
"""Lines in an event or a tag."""
READ = 200
"""Lines that are read to find these."""
BYTE_LIMIT = 4000


class LastLines:
    """Reads the last lines of an agent's container, without secrets."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def __call__(self, agent: AgentName) -> str:
        """Return at most KEPT lines and BYTE_LIMIT bytes."""
        return scrub(last_lines(await self._backend.logs(agent, READ), KEPT), limit=BYTE_LIMIT)


def last_lines(log: str, count: int) -> str:
    """Return the last `count` lines.

    If the harness's own lines are marked, return the last of those: a system that stops writes many lines after them.
    """
    lines = log.strip().split("\n")
    harness = [line for line in lines if HARNESS in line]
    return "\n".join((harness or lines)[-count:])
