"""The tools of a runtime during a turn, as far as agent.toml allows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from harness.environment import Environment
from meta.agent_toml.settings import AgentSettings
from meta.errors import Refused
from meta.names import MANAGER, AgentName, Sha
from meta.wire.agent import Answer, Ask, Remind
from meta.wire.common import InSeconds

if TYPE_CHECKING:
    from harness.inbox import Request, Response


class Sends(Protocol):
    """Sends requests to hive (harness.inbox)."""

    async def send(self, to: str, body: str) -> None:
        """Send a message. Raise Refused."""

    async def call(self, request: Request) -> Response:
        """Return the answer to a request. Raise Refused."""


class HiveTools:
    """The tools over the socket of the inbox (implements runtimes.base.Tools)."""

    def __init__(self, inbox: Sends, settings: AgentSettings, environment: Environment) -> None:
        self._inbox = inbox
        self._settings = settings
        self._environment = environment

    async def send(self, to: str, body: str) -> None:
        """Send a message, or with "*" a broadcast. Raise Refused if `recipients` or hive forbids it."""
        self._check(to)
        await self._inbox.send(to, body)

    async def ask(self, to: str, question: str, options: Sequence[str] = (), *, multi: bool = False) -> None:
        """Ask an agent or the operator. Raise Refused if `recipients` or hive forbids it."""
        self._check(to)
        await self._inbox.call(Ask(question=question, options=tuple(options), multi=multi, to=to))

    async def answer(self, id: int, text: str) -> None:
        """Answer a question to this agent. Raise Refused if hive forbids it."""
        await self._inbox.call(Answer(id=id, answer=text))

    async def remind(self, message: str, seconds: int) -> None:
        """Schedule a reminder: `message` arrives from `reminder` in `seconds` seconds. Raise Refused if hive forbids
        it.
        """
        await self._inbox.call(Remind(message=message, timing=InSeconds(seconds=seconds)))

    async def request_apply_commit(self, agent: AgentName, commit: Sha, description: str) -> None:
        """Request approval of `commit` in the agent's proposed repo. Raise Refused unless the caller is the manager."""
        if not self._environment.manager:
            raise Refused(
                f"{self._environment.agent} may not propose: only the manager may", "send the manager a message"
            )
        from meta.wire.manager import RequestApplyCommit  # building it takes time: only the manager does

        await self._inbox.call(RequestApplyCommit(agent=agent, commit_ref=commit, description=description or None))

    def _check(self, to: str) -> None:
        if to not in (MANAGER, self._environment.agent) and not self._settings.may_write_to(to):
            raise Refused(f"{self._environment.agent} may not write to {to}", "add it to recipients in agent.toml")
