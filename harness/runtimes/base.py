"""What a runtime is: it takes a message and does one turn with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from meta.names import AgentName, Sha
from meta.wire.agent import MessageResponse


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """How a turn ended. One that is not `ok` is tried again, a few times."""

    ok: bool
    reason: str = ""


class Tools(Protocol):
    """What a runtime may do during a turn. Both verbs raise Refused with the reason."""

    async def send(self, to: str, body: str) -> None:
        """Send a message."""

    async def request_apply_commit(self, agent: AgentName, commit: Sha, description: str) -> None:
        """Ask for a commit of the agent's proposed repo to be approved."""


class Runtime(Protocol):
    """One way to do turns. A turn may be cancelled at any await; the message then comes again."""

    async def turn(self, message: MessageResponse, tools: Tools) -> TurnOutcome:
        """Do one turn. A HiveError counts as a turn that is not ok."""
