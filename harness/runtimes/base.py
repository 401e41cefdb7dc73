"""The interface of a runtime: it gets a message and does one turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from meta.names import AgentName, Sha
from meta.wire.agent import MessageResponse


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """The end of a turn. A turn that is not `ok` is retried a few times."""

    ok: bool
    reason: str = ""


class Tools(Protocol):
    """The actions of a runtime during a turn. Each method raises Refused with the reason."""

    async def send(self, to: str, body: str) -> None:
        """Send a message, or with "*" a broadcast."""

    async def ask(self, to: str, question: str, options: Sequence[str] = (), *, multi: bool = False) -> None:
        """Ask an agent or the operator. The answer comes later, as a helper event."""

    async def answer(self, id: int, text: str) -> None:
        """Answer a question to this agent."""

    async def remind(self, message: str, seconds: int) -> None:
        """Schedule a reminder: `message` arrives from `reminder` in `seconds` seconds."""

    async def request_apply_commit(self, agent: AgentName, commit: Sha, description: str) -> None:
        """Request approval of a commit in the agent's proposed repo."""


class Runtime(Protocol):
    """One way to do turns. A turn may be cancelled at every await; hive then delivers the message again."""

    async def turn(self, message: MessageResponse, tools: Tools) -> TurnOutcome:
        """Do one turn. A HiveError counts as a turn that is not ok."""
