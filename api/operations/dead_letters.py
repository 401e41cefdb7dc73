"""Messages that were handed out again and again and never acknowledged."""

from __future__ import annotations

from dataclasses import dataclass

from api.operations.base import CHANGES, OPERATORS, READS, REMOVES, Call, Input, Nothing, Route, operation
from meta.wire.common import I64
from reconciler.messaging.broker import DeadLetter


class Letter(Input):
    """One dead letter."""

    id: I64


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a dead letter."""

    id: int
    became: str


@operation("dead_letters", OPERATORS, READS, routes=(Route("GET", "/api/dead-letters"),))
async def dead_letters(call: Call, _asked: Nothing) -> list[DeadLetter]:
    """Every dead letter, newest first."""
    return await call.service.broker.dead_letters()


@operation("revive", OPERATORS, CHANGES, routes=(Route("POST", "/api/dead-letters/{id}/revive"),))
async def revive(call: Call, asked: Letter) -> Handled:
    """Let a dead letter wait in its inbox again."""
    await call.service.broker.revive(asked.id)
    return Handled(asked.id, "waiting")


@operation("discard", OPERATORS, REMOVES, routes=(Route("DELETE", "/api/dead-letters/{id}"),))
async def discard(call: Call, asked: Letter) -> Handled:
    """Remove a dead letter for ever."""
    await call.service.broker.discard(asked.id)
    return Handled(asked.id, "discarded")


DEAD_LETTERS = (dead_letters, revive, discard)
