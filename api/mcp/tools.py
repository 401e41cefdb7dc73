"""The tools of one principal, from the table of operations, and a call to one of them.

An expected error is an answer too, with its hint. After each result stands how many messages wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from api.mcp.arguments import passed_over, request_from
from api.mcp.schema import Arguments, arguments_of
from api.operations.base import AnyOperation, AnyTool, Call, Role, Surface, input_of
from api.operations.table import tools_of
from meta.errors import BadInput, HiveError
from meta.wire.common import Wire

log = logging.getLogger(__name__)

T = TypeVar("T")
READS = frozenset({"whoami", "loose_ends", "get_logs"})
"""Tools that change nothing."""
ENDS = frozenset({"kill", "cancel_loose_end"})
"""Tools that take something away. Both are hints for clients that ask a person before a call."""
_FACES = (Surface.AGENT, Surface.MANAGER, Surface.HOST)


class Gone(Exception):
    """Who asked did not stay for the answer."""


@dataclass(frozen=True, slots=True)
class ToolView:
    """One tool as a model sees it."""

    name: str
    description: str
    arguments: Arguments
    request: type[Wire]
    operation: AnyOperation
    face: AnyTool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model reads: texts, one after the other."""

    texts: tuple[str, ...]
    error: bool = False


@cache
def tools_for(role: Role) -> Mapping[str, ToolView]:
    """The tools that `role` sees, by name, in the table's order."""
    return {name: view(name, operation) for name, operation in tools_of(role).items()}


def view(name: str, operation: AnyOperation) -> ToolView:
    """An operation as the tool `name`: its arguments are those of its first face on a line socket."""
    line = next(line for face in _FACES if (line := operation.line(face)) is not None)
    if operation.tool is None:
        raise TypeError(f"{operation.name} is no tool")
    return ToolView(name, operation.summary, arguments_of(line.request), line.request, operation, operation.tool)


async def call_tool(call: Call, name: str, given: Mapping[str, Any], gone: asyncio.Event) -> Answer:
    """Do it. What waits is cancelled once `gone` is set, and puts back what it took (Gone); all else is done."""
    tool = tools_for(call.role).get(name)
    try:
        if tool is None:
            raise BadInput(f"there is no tool {name[:60]!r}", f"there are {', '.join(tools_for(call.role))}")
        asked = input_of(tool.operation.input, request_from(tool.request, tool.arguments, given))
        work: Coroutine[None, None, Any] = _handled(tool, call, asked)
        text = await (_while_there(work, gone) if tool.operation.waits else _through(work))
        unknown = passed_over(tool.arguments, given)
        notes = [f"passed over, since {name} takes no such argument: {', '.join(unknown)}"] if unknown else []
        return Answer((text, *notes, *await _status(call)))
    except HiveError as error:
        return await refused(call, error)
    except Gone:
        raise
    except Exception:
        log.exception("the tool %s failed inside for %s", name[:60], call.who, extra={"limited": f"{call.who} tool"})
        return Answer(("error: hive failed inside while doing this; its log says more",), error=True)


async def refused(call: Call, error: HiveError) -> Answer:
    """An error that was to be expected, with its hint."""
    hint = f"\n{error.hint}" if error.hint else ""
    return Answer((f"error: {error.summary}{hint}", *await _status(call)), error=True)


async def _handled(tool: ToolView, call: Call, asked: Any) -> str:
    return tool.face.text(call, await tool.operation.handler(call, asked))


async def _status(call: Call) -> tuple[str, ...]:
    """How many messages wait; the operator has the dashboard for that."""
    if call.role is Role.OPERATOR:
        return ()
    try:
        return (f"{await call.service.broker.unread(call.name)} unread",)
    except HiveError:
        return ()


async def _through(work: Coroutine[None, None, T]) -> T:
    """`work`, done to its end whatever becomes of the caller."""
    task = asyncio.ensure_future(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also when nobody waits
    return await asyncio.shield(task)


_running: set[asyncio.Future[Any]] = set()
"""Keeps what is being done alive after its caller is gone."""


async def _while_there(work: Coroutine[None, None, T], gone: asyncio.Event) -> T:
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():  # an answer that comes just then is written, or is known not to be (Call.after)
            raise Gone
        return task.result()
    finally:
        left.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
