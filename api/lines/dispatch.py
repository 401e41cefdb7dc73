"""A request of the line protocol, to its operation and back."""

from __future__ import annotations

from api.operations.base import AnyOperation, Call, Surface, input_of
from api.operations.table import ON_LINES
from meta.errors import BadInput, HiveError, Refused
from meta.wire.common import Wire


async def answer(call: Call, surface: Surface, request: Wire) -> Wire:
    """Do what is asked on a line socket; returns once it is durable. HiveError when it is not done."""
    operation = wanted(surface, request)
    line = operation.line(surface)
    if line is None or call.role not in operation.principals:
        raise BadInput(f"{operation.name} cannot be asked here", "see docs/reference/wire.md")
    return line.response(await operation.handler(call, input_of(operation.input, request)))


def wanted(surface: Surface, request: Wire) -> AnyOperation:
    """The operation behind a request that the surface's wire type has decoded."""
    found = ON_LINES[surface].get(type(request))
    if found is None:
        raise Refused("this is not available yet", "see docs/reference/wire.md")
    return found


def spoken(error: HiveError) -> str:
    """What, and in brackets what to do about it."""
    return f"{error.summary} ({error.hint})" if error.hint else error.summary
