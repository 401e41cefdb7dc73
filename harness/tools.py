"""What a runtime may do during a turn, within what agent.toml allows."""

from __future__ import annotations

from harness.inbox import Inbox
from harness.place import Place
from meta.errors import Refused
from meta.names import AgentName, Sha
from meta.settings import AgentSettings


class HiveTools:
    """The agent's verbs over its inbox's socket (implements runtimes.base.Tools)."""

    def __init__(self, inbox: Inbox, settings: AgentSettings, place: Place) -> None:
        self._inbox = inbox
        self._settings = settings
        self._place = place

    async def send(self, to: str, body: str) -> None:
        """Send a message. Refused when `recipients` does not allow it, or by hive."""
        if not self._settings.may_write_to(to):
            raise Refused(f"{self._place.agent} may not write to {to}", "add it to recipients in agent.toml")
        await self._inbox.send(to, body)

    async def request_apply_commit(self, agent: AgentName, commit: Sha, description: str) -> None:
        """Ask for `commit` of the agent's proposed repo to be approved. Only the manager may."""
        if not self._place.manager:
            raise Refused(f"{self._place.agent} may not propose: only the manager may", "send the manager a message")
        from meta.wire.manager import RequestApplyCommit  # built for managers only

        await self._inbox.call(RequestApplyCommit(agent=agent, commit_ref=commit, description=description or None))
