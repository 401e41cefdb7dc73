"""The agent.toml that each agent runs with: the file of the commit that meta's `main` pins for it.

It is not the file of `applied/main`: that is newer when meta is restored from a backup, and after a rollback by an
older hive.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from meta.agent_toml.settings import AgentSettings
from meta.errors import Damaged, HiveError, NotFound, TransientError
from meta.names import AgentName, Sha
from meta.proposed.settings import read_settings

log = logging.getLogger(__name__)

CLOSED = AgentSettings(recipients=[])
"""The settings for a file that is not valid. They allow nothing."""


class DeployedSettings:
    """Reads each agent's settings once per commit.

    `pinned` returns the commit that meta's `main` pins for an agent, or None. `read` returns agent.toml of a commit of
    its applied repo, which only hive writes.
    """

    def __init__(
        self, pinned: Callable[[AgentName], Sha | None], read: Callable[[AgentName, Sha], Awaitable[bytes]]
    ) -> None:
        self.pinned = pinned
        self._read = read
        self._known: dict[AgentName, tuple[Sha, AgentSettings]] = {}

    async def of(self, agent: AgentName) -> AgentSettings | None:
        """Return the settings. For a commit without agent.toml return the defaults, and without a pinned commit None.

        Raise TransientError if the file cannot be read now.
        """
        sha = self.pinned(agent)
        if sha is None:
            self._known.pop(agent, None)
            return None
        known = self._known.get(agent)
        if known is None or known[0] != sha:
            settings = await self._parse(agent, sha)
            if settings is None:
                return CLOSED
            known = self._known[agent] = (sha, settings)
        return known[1]

    async def turn_limit(self, agent: AgentName) -> float | None:
        """Return the seconds that one turn of the agent may take; None if that cannot be read now."""
        try:
            settings = await self.of(agent)
        except TransientError:
            return None
        return None if settings is None else settings.limits.turn_seconds

    async def model(self, agent: AgentName) -> str | None:
        """Return the model of the agent's settings; None if there is none, or if that cannot be read now."""
        try:
            settings = await self.of(agent)
        except TransientError:
            return None
        return None if settings is None else settings.model

    async def _parse(self, agent: AgentName, sha: Sha) -> AgentSettings | None:
        """Return the settings; None if the repo is damaged: it is read again next time."""
        try:
            return await read_settings(await self._read(agent, sha))
        except NotFound:
            return AgentSettings()
        except TransientError:
            raise
        except Damaged as error:
            log.warning("%s may write to the manager only and proposes nothing by itself: %s", agent, error)
            return None
        except HiveError as error:
            log.warning(
                "%s may write to the manager only and proposes nothing by itself: its agent.toml is unreadable: %s",
                agent,
                error,
            )
            return CLOSED
