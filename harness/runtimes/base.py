"""What every runtime obeys: one message in, one turn, what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery. `redelivered`: it was handed out before and may have been dealt with already."""

    sender: str
    body: str
    id: int = 0
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """What a turn did, in a few words for the log."""

    summary: str


class Tools(Protocol):
    """What a turn may do in the world. Errors are HiveErrors."""

    async def send(self, to: str, body: str) -> None:
        """Send a message to another agent or to the operator; Refused when agent.toml does not allow `to`."""

    async def reply(self, body: str) -> None:
        """Send a message to whoever caused this turn; nothing when that is hive itself."""

    async def commit(self, agent: str, file: str, content: str, message: str) -> str:
        """Write and commit a file in the proposed work tree of `agent`; returns the commit's sha."""

    async def request(self, agent: str, description: str) -> str:
        """Ask for approval of HEAD of the proposed work tree of `agent`; returns its sha."""


class Runtime(Protocol):
    """One way to think. `state` and the like are its own business."""

    async def turn(self, message: Message, tools: Tools) -> TurnOutcome:
        """Deal with `message`. A HiveError ends the turn and is told to the operator, if it was theirs."""
