"""The logs: of all deploys, and of an agent's container."""

from __future__ import annotations

import asyncio

from meta.errors import NotFound
from meta.names import AgentName
from reconciler.proposals.deploys import Deploys
from reconciler.views import LogPart, LogRow
from reconciler.world import World

LOOK_SECONDS = 0.5
"""Seconds between two looks at a log that is followed."""


class LogsQuery:
    """The views of logs."""

    def __init__(self, world: World, deploys: Deploys) -> None:
        self._world = world
        self._deploys = deploys

    async def deploys(self, limit: int = 50) -> list[LogRow]:
        """Return the system-wide deploy log, newest first."""
        return [
            LogRow(
                commit=entry.commit,
                at=entry.at,
                action=entry.action,
                agent=entry.agent,
                id=entry.id,
                sha=entry.sha,
                generation=entry.generation,
                by=entry.by,
                subject=entry.subject,
            )
            for entry in await self._world.meta.log(limit)
        ]

    async def last(self, agent: AgentName, lines: int = 50) -> str:
        """Return the last lines that the agent's container wrote."""
        if agent not in (await self._world.observer.desired()).agents:
            raise NotFound(f"there is no agent {agent}", "see `hive list`")
        return await self._world.observer.logs(agent, lines)

    async def after(
        self, agent: AgentName, cursor: str | None, lines: int, since: float | None, seconds: float = 0.0
    ) -> LogPart:
        """Return the lines that the container wrote after `cursor`. Wait at most `seconds` for them.

        Without a cursor return its last `lines` lines.
        """
        await self._deploys.entry(agent)
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            part = await self._world.observer.logs_after(agent, cursor, lines, since)
            remaining = deadline - asyncio.get_running_loop().time()
            if part.text or remaining <= 0:
                return part
            cursor = part.cursor or cursor
            await asyncio.sleep(min(LOOK_SECONDS, remaining))
