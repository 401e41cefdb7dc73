"""Messages that were delivered several times and never acknowledged."""

from __future__ import annotations

from dataclasses import dataclass

from api.operations.base import CHANGES, OPERATORS, READS, REMOVES, Call, Input, Nothing, Route, operation
from meta.wire.common import I64
from reconciler.messaging.broker import DeadLetter


class DeadLetterId(Input):
    """One dead letter."""

    id: I64


@dataclass(frozen=True, slots=True)
class DeadLetterResult:
    """The result for a dead letter."""

    id: int
    became: str


@operation("dead_letters", OPERATORS, READS, routes=(Route("GET", "/api/dead-letters"),))
async def dead_letters(call: Call, _asked: Nothing) -> list[DeadLetter]:
    """List every dead letter, newest first."""
    return await call.service.broker.dead_letters()


@operation("revive", OPERATORS, CHANGES, routes=(Route("POST", "/api/dead-letters/{id}/revive"),))
async def revive(call: Call, asked: DeadLetterId) -> DeadLetterResult:
    """Put a dead letter back into its inbox."""
    await call.service.broker.revive(asked.id)
    return DeadLetterResult(asked.id, "waiting")


@operation("discard", OPERATORS, REMOVES, routes=(Route("DELETE", "/api/dead-letters/{id}"),))
async def discard(call: Call, asked: DeadLetterId) -> DeadLetterResult:
    """Remove a dead letter for ever."""
    await call.service.broker.discard(asked.id)
    return DeadLetterResult(asked.id, "discarded")


DEAD_LETTERS = (dead_letters, revive, discard)
