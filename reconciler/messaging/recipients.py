"""Whom each agent may write to: `recipients` in the agent.toml that it runs with."""

from __future__ import annotations

from meta.errors import TransientError
from meta.names import AgentName
from reconciler.observe.settings import DeployedSettings


class Recipients:
    """The lists, by agent."""

    def __init__(self, settings: DeployedSettings) -> None:
        self._settings = settings

    async def allowed(self, sender: str, recipient: str) -> bool:
        """Whether `sender` (an agent) may write to `recipient`; one whose commit has no agent.toml may write to all.

        TransientError when that cannot be read now, or nothing of the agent's is deployed yet (the manager, whom it
        can always write to, is not asked about here).
        """
        settings = await self._settings.of(AgentName(sender))
        if settings is None:
            raise TransientError(
                f"{sender} can write to the manager only until its first commit is deployed", "try again then"
            )
        return settings.may_write_to(recipient)
