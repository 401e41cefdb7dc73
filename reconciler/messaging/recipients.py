"""The recipients that each agent may write to: `recipients` in the agent.toml that it runs with."""

from __future__ import annotations

from meta.errors import TransientError
from meta.names import AgentName
from reconciler.observe.settings import DeployedSettings


class Recipients:
    """The lists, by agent."""

    def __init__(self, settings: DeployedSettings) -> None:
        self._settings = settings

    async def allowed(self, sender: str, recipient: str) -> bool:
        """Return True if `sender` (an agent) may write to `recipient`.

        Without an agent.toml it may write to all agents. Raise TransientError if the file cannot be read now, or if the
        agent has no deployed commit yet. The broker does not call this for the manager: every agent may write to it.
        """
        settings = await self._settings.of(AgentName(sender))
        if settings is None:
            raise TransientError(
                f"{sender} can write to the manager only until its first commit is deployed", "try again after that"
            )
        return settings.may_write_to(recipient)
