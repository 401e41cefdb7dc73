"""Dispatch a request of the line protocol to its operation."""

from __future__ import annotations

from api.operations.base import Call, Surface, input_of
from api.operations.full_disk import perform
from api.operations.table import ON_LINES, OnLine
from meta.errors import BadInput, Refused
from meta.wire.common import Wire


async def answer(call: Call, bound: OnLine, request: Wire) -> Wire:
    """Run the operation of a request and return its answer once it is durable. Raise HiveError if it fails."""
    operation = bound.operation
    if call.role not in operation.principals:
        raise BadInput(f"{operation.name} is not available on this socket", "see docs/reference/wire.md")
    return bound.response(await perform(call, operation, input_of(operation.input, request)))


def operation_for(surface: Surface, request: Wire) -> OnLine:
    """Return the operation of a decoded request, and how its answer is written. Raise Refused if there is none."""
    bound = ON_LINES[surface].get(type(request))
    if bound is None:
        raise Refused("this is not available yet", "see docs/reference/wire.md")
    return bound
