"""Whom each agent may write to: `recipients` in the agent.toml that it runs with."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from meta.errors import HiveError, NotFound, TransientError
from meta.names import AgentName, Sha
from meta.settings import AgentSettings, parse_settings

log = logging.getLogger(__name__)

NOBODY = AgentSettings(recipients=[])


class Recipients:
    """The lists, by agent, read once per commit.

    `pinned`: the commit that meta's `main` names for an agent, None when there is none. `read`: agent.toml of a commit
    of its applied repo, which only hive writes.
    """

    def __init__(
        self, pinned: Callable[[AgentName], Sha | None], read: Callable[[AgentName, Sha], Awaitable[bytes]]
    ) -> None:
        self._pinned = pinned
        self._read = read
        self._known: dict[AgentName, tuple[Sha, AgentSettings]] = {}

    async def allowed(self, sender: str, recipient: str) -> bool:
        """Whether `sender` (an agent) may write to `recipient`; one whose commit has no agent.toml may write to all.

        TransientError when that cannot be read now, or nothing of the agent's is deployed yet (the manager, whom it
        can always write to, is not asked about here).
        """
        agent = AgentName(sender)
        sha = self._pinned(agent)
        if sha is None:
            self._known.pop(agent, None)
            raise TransientError(
                f"{sender} can write to the manager only until its first commit is deployed", "try again then"
            )
        known = self._known.get(agent)
        if known is None or known[0] != sha:
            known = self._known[agent] = (sha, await self._settings(agent, sha))
        return known[1].may_write_to(recipient)

    async def _settings(self, agent: AgentName, sha: Sha) -> AgentSettings:
        try:
            return parse_settings(await self._read(agent, sha))
        except NotFound:
            return AgentSettings()
        except TransientError:
            raise
        except HiveError as error:
            log.warning("%s may write to the manager only, its list of recipients is unreadable: %s", agent, error)
            return NOBODY
