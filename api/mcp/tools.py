"""The tools of one principal, from the table of operations, and a call to one of them.

An expected error is an answer too, with its hint. Each result ends with the number of unread messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from api.mcp.arguments import request_from, unknown_arguments
from api.mcp.schema import Arguments, arguments_of
from api.operations.base import AnyOperation, AnyTool, Call, Role, Surface, input_of
from api.operations.full_disk import perform
from api.operations.table import tools_of
from meta.errors import BadInput, HiveError
from meta.wire.common import Wire

log = logging.getLogger(__name__)

T = TypeVar("T")
_LINE_SURFACES = (Surface.AGENT, Surface.MANAGER, Surface.HOST)


class Cancelled(Exception):
    """The caller cancelled the call, or disconnected."""


@dataclass(frozen=True, slots=True)
class ToolView:
    """One tool as a model sees it."""

    name: str
    description: str
    arguments: Arguments
    request: type[Wire]
    operation: AnyOperation
    binding: AnyTool


@dataclass(frozen=True, slots=True)
class Answer:
    """The texts that a model reads, in this order."""

    texts: tuple[str, ...]
    error: bool = False


@cache
def tools_for(role: Role) -> Mapping[str, ToolView]:
    """Return the tools of `role` by name, in the table's order."""
    return {name: view(name, operation) for name, operation in tools_of(role).items()}


def view(name: str, operation: AnyOperation) -> ToolView:
    """Return an operation as the tool `name`. Its arguments are those of its request on a line socket, or its own."""
    if operation.tool is None:
        raise TypeError(f"{operation.name} is not a tool")
    lines = (operation.line(surface) for surface in _LINE_SURFACES)
    request = operation.tool.request or next(line.request for line in lines if line is not None)
    return ToolView(name, operation.summary, arguments_of(request), request, operation, operation.tool)


async def call_tool(call: Call, name: str, given: Mapping[str, Any], cancelled: asyncio.Event) -> Answer:
    """Run a tool and return its answer.

    When `cancelled` is set, a tool that waits is cancelled, puts back what it took, and Cancelled is raised. Any other
    tool runs to its end.
    """
    tool = tools_for(call.role).get(name)
    try:
        if tool is None:
            raise BadInput(f"there is no tool {name[:60]!r}", f"there are {', '.join(tools_for(call.role))}")
        value = input_of(tool.operation.input, request_from(tool.request, tool.arguments, given))
        work: Coroutine[None, None, Any] = _run(tool, call, value)
        text = await (_unless_cancelled(work, cancelled) if tool.operation.waits else _to_the_end(work))
        unknown = unknown_arguments(tool.arguments, given)
        notes = [f"ignored, because {name} has no such argument: {', '.join(unknown)}"] if unknown else []
        return Answer((text, *notes, *await _status(call)))
    except HiveError as error:
        return await error_answer(call, error)
    except Cancelled:
        raise
    except Exception:
        log.exception(
            "the tool %s raised an unexpected error for %s",
            name[:60],
            call.who,
            extra={"limited": f"{call.who} tool"},
        )
        return Answer(("error: hive failed with an internal error; its log has the details",), error=True)


async def error_answer(call: Call, error: HiveError) -> Answer:
    """Return an expected error with its hint."""
    hint = f"\n{error.hint}" if error.hint else ""
    return Answer((f"error: {error.summary}{hint}", *await _status(call)), error=True)


async def _run(tool: ToolView, call: Call, value: Any) -> str:
    return tool.binding.text(call, await perform(call, tool.operation, value))


async def _status(call: Call) -> tuple[str, ...]:
    """Return the number of unread messages. The operator gets none here: the dashboard shows it."""
    if call.role is Role.OPERATOR:
        return ()
    try:
        return (f"{await call.service.broker.unread(call.name)} unread",)
    except HiveError:
        return ()


async def _to_the_end(work: Coroutine[None, None, T]) -> T:
    """Run `work` to its end, even if the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    # asyncio warns of an error that is never retrieved, and a caller that left retrieves none.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)


_running: set[asyncio.Future[Any]] = set()
"""References to the running tasks: asyncio itself keeps none."""


async def _unless_cancelled(work: Coroutine[None, None, T], cancelled: asyncio.Event) -> T:
    task = asyncio.ensure_future(work)
    end = asyncio.ensure_future(cancelled.wait())
    try:
        await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():  # a result that comes at the same moment is returned: Call.after reports its fate
            raise Cancelled
        return task.result()
    finally:
        end.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
