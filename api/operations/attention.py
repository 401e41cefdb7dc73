"""What needs a person: the attention list."""

from __future__ import annotations

from api.operations.base import OPERATORS, READS, Call, Nothing, Route, operation
from reconciler.attention.row import Attention


@operation("attention", OPERATORS, READS, routes=(Route("GET", "/api/attention"),))
async def attention(call: Call, _asked: Nothing) -> Attention:
    """Return what needs a person: the most severe rows first, then the oldest."""
    return await call.service.status.attention()


ATTENTION = (attention,)
