"""What a runtime is: it takes a message and does one turn with it."""

from __future__ import annotations

from collections.abc import Sequence
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
    """What a runtime may do during a turn. Each verb raises Refused with the reason."""

    async def send(self, to: str, body: str) -> None:
        """Send a message, or with "*" a broadcast."""

    async def ask(self, to: str, question: str, options: Sequence[str] = (), *, multi: bool = False) -> None:
        """Ask an agent or the operator; the answer comes later, as a helper event."""

    async def answer(self, id: int, text: str) -> None:
        """Answer a question that was asked of this agent."""

    async def remind(self, message: str, seconds: int) -> None:
        """Have `message` from `reminder` after so many seconds."""

    async def request_apply_commit(self, agent: AgentName, commit: Sha, description: str) -> None:
        """Ask for a commit of the agent's proposed repo to be approved."""


class Runtime(Protocol):
    """One way to do turns. A turn may be cancelled at any await; the message then comes again."""

    async def turn(self, message: MessageResponse, tools: Tools) -> TurnOutcome:
        """Do one turn. A HiveError counts as a turn that is not ok."""
