"""What an action does: an operation that the person who is logged in may call."""

from __future__ import annotations

from typing import TypeVar, cast

from pydantic import BaseModel

from api.operations.base import Call, Operation, Role
from api.operations.full_disk import perform
from meta.errors import Refused

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out")


async def do(call: Call, operation: Operation[In, Out], asked: In) -> Out:
    """Return the operation's answer, or raise its error."""
    if Role.OPERATOR not in operation.principals:
        raise Refused(f"{operation.name} is no operation of an operator", "see docs/reference/http.md")
    return cast("Out", await perform(call, operation, asked))
