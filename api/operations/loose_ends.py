"""Open approvals, questions and reminders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.operations.base import EVERYBODY, READS, REMOVES, Call, Route, Tool, on_agents, operation
from meta.text import one_line
from meta.wire import agent as wire
from meta.wire.common import ApprovalEnd, CancelLooseEndKind, LooseEnd, QuestionEnd

MAX_LISTED = 50
"""Entries of one kind that a model gets."""
MAX_LENGTH = 200
"""Characters of one entry."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A loose end that was cancelled."""

    kind: CancelLooseEndKind
    id: int


def _response(ends: list[LooseEnd]) -> wire.LooseEndsResponse:
    return wire.LooseEndsResponse(loose_ends=tuple(ends))


def _list_text(_call: Call, ends: list[LooseEnd]) -> str:
    """Return one line for each of the newest entries of a kind. The number is limited because a model reads all of
    them.
    """
    kinds = [[end for end in ends if end.kind == kind] for kind in ("approval", "question", "reminder")]
    return "\n".join(line for entries in kinds for line in _lines(entries)) or "nothing is open"


def _lines(ends: list[LooseEnd]) -> Iterator[str]:
    for end in ends[:MAX_LISTED]:
        line = one_line(_line(end), MAX_LENGTH + 1)
        yield line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"
    if len(ends) > MAX_LISTED:
        yield f"and {len(ends) - MAX_LISTED} older {ends[0].kind}s"


def _line(end: LooseEnd) -> str:
    match end:
        case ApprovalEnd():
            description = f": {end.description}" if end.description else ""
            return f"approval {end.id} of {end.agent} waits for the operator, {end.age_seconds} s{description}"
        case QuestionEnd():
            target = end.target or "the operator"
            return f"question {end.id} from {end.asker} to {target}, {end.age_seconds} s: {end.question}"
        case _:
            return f"reminder {end.id} of {end.owner}, due at {end.due_at}, {end.age_seconds} s old: {end.message}"


def _cancelled_text(_call: Call, cancelled: Cancelled) -> str:
    return f"{cancelled.kind} {cancelled.id} is cancelled"


@operation(
    "loose_ends",
    EVERYBODY,
    READS,
    lines=(on_agents(wire.GetLooseEnds, _response),),
    routes=(Route("GET", "/api/loose-ends"),),
    tool=Tool(_list_text),
)
async def loose_ends(call: Call, _asked: wire.GetLooseEnds) -> list[LooseEnd]:
    """List what is open, newest first within each kind: an agent's own; all for the manager and the operator."""
    return list(await call.service.loose_ends.of(call.name))


@operation(
    "cancel_loose_end",
    EVERYBODY,
    REMOVES,
    lines=(on_agents(wire.CancelLooseEnd),),
    routes=(
        Route("POST", "/api/questions/{id}/cancel", fixed={"kind": CancelLooseEndKind.QUESTION}),
        Route("POST", "/api/reminders/{id}/cancel", fixed={"kind": CancelLooseEndKind.REMINDER}),
    ),
    tool=Tool(_cancelled_text),
)
async def cancel_loose_end(call: Call, asked: wire.CancelLooseEnd) -> Cancelled:
    """Cancel a question or a reminder; its asker is notified. An approval cannot be cancelled here."""
    await call.service.loose_ends.cancel(asked.kind, asked.id, call.name, call.who)
    return Cancelled(asked.kind, asked.id)


LOOSE_ENDS = (loose_ends, cancel_loose_end)
