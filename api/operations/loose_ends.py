"""What is open: approvals, questions, reminders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.operations.base import EVERYBODY, Call, Route, Tool, on_agents, operation
from meta.text import one_line
from meta.wire import agent as wire
from meta.wire.common import ApprovalEnd, CancelLooseEndKind, LooseEnd, QuestionEnd

TOLD_MOST = 50
"""Of one kind that a model is told."""
TOLD_LENGTH = 200
"""Characters of one of them."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A loose end that is none any more."""

    kind: CancelLooseEndKind
    id: int


def _ends(found: list[LooseEnd]) -> wire.LooseEndsResponse:
    return wire.LooseEndsResponse(loose_ends=tuple(found))


def _listed(_call: Call, found: list[LooseEnd]) -> str:
    """One line for each of the newest of a kind: a model has to read all of it."""
    kinds = [[end for end in found if end.kind == kind] for kind in ("approval", "question", "reminder")]
    return "\n".join(line for ends in kinds for line in _lines(ends)) or "nothing is open"


def _lines(ends: list[LooseEnd]) -> Iterator[str]:
    for end in ends[:TOLD_MOST]:
        line = one_line(_line(end), TOLD_LENGTH + 1)
        yield line if len(line) <= TOLD_LENGTH else line[: TOLD_LENGTH - 1] + "…"
    if len(ends) > TOLD_MOST:
        yield f"and {len(ends) - TOLD_MOST} older {ends[0].kind}s"


def _line(end: LooseEnd) -> str:
    match end:
        case ApprovalEnd():
            told = f": {end.description}" if end.description else ""
            return f"approval {end.id} of {end.agent} waits for the operator, {end.age_seconds} s{told}"
        case QuestionEnd():
            whom = end.target or "the operator"
            return f"question {end.id} from {end.asker} to {whom}, {end.age_seconds} s: {end.question}"
        case _:
            return f"reminder {end.id} of {end.owner}, due at {end.due_at}, {end.age_seconds} s old: {end.message}"


def _gone(_call: Call, cancelled: Cancelled) -> str:
    return f"{cancelled.kind} {cancelled.id} is cancelled"


@operation(
    "loose_ends",
    EVERYBODY,
    lines=(on_agents(wire.GetLooseEnds, _ends),),
    routes=(Route("GET", "/api/loose-ends"),),
    tool=Tool(_listed),
)
async def loose_ends(call: Call, _asked: wire.GetLooseEnds) -> list[LooseEnd]:
    """What is open, newest first within each kind: an agent sees its own, the manager and the operator everything."""
    return list(await call.service.ends.of(call.name))


@operation(
    "cancel_loose_end",
    EVERYBODY,
    lines=(on_agents(wire.CancelLooseEnd),),
    routes=(
        Route("POST", "/api/questions/{id}/cancel", fixed={"kind": CancelLooseEndKind.QUESTION}),
        Route("POST", "/api/reminders/{id}/cancel", fixed={"kind": CancelLooseEndKind.REMINDER}),
    ),
    tool=Tool(_gone),
)
async def cancel_loose_end(call: Call, asked: wire.CancelLooseEnd) -> Cancelled:
    """Cancel a question or a reminder; its asker is told. Nobody cancels an approval here."""
    await call.service.ends.cancel(asked.kind, asked.id, call.name)
    return Cancelled(asked.kind, asked.id)


LOOSE_ENDS = (loose_ends, cancel_loose_end)
