"""Questions to the operator or to another agent, and their answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pydantic import Field

from api.operations.base import EVERYBODY, OPERATORS, Call, Input, Route, Tool, on_agents, operation
from api.operations.upkeep import Nothing
from api.operations.waiting import unless_stopping
from meta.wire import agent as wire
from meta.wire.common import I64
from reconciler.questions import Question

LOOK_SECONDS = 0.25
"""Between two looks at a question whose answer is waited for."""


class Looking(Input):
    """One question."""

    id: I64
    wait: float = Field(0.0, ge=0, le=60, description="seconds to wait for its answer")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is on disk."""

    id: int
    to: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A question that has an answer now."""

    id: int


def _queued(asked: Asked) -> wire.QuestionQueuedResponse:
    return wire.QuestionQueuedResponse(id=asked.id)


def _told(_call: Call, asked: Asked) -> str:
    return f"question {asked.id} to {asked.to} is asked; its answer comes as a message from system"


def _passed_on(_call: Call, answered: Answered) -> str:
    return f"question {answered.id} is answered"


@operation(
    "ask",
    EVERYBODY,
    lines=(on_agents(wire.Ask, _queued),),
    routes=(Route("POST", "/api/questions", status=201, limit=2**23),),
    tool=Tool(_told),
)
async def ask(call: Call, asked: wire.Ask) -> Asked:
    """Ask the operator or an agent; the answer comes later as a message."""
    id = await call.service.questions.ask(
        call.name, asked.question, asked.options, asked.multi, asked.ttl_seconds, asked.to
    )
    return Asked(id, asked.to or "the operator")


@operation(
    "answer",
    EVERYBODY,
    lines=(on_agents(wire.Answer),),
    routes=(Route("POST", "/api/questions/{id}/answer", limit=2**23),),
    tool=Tool(_passed_on),
)
async def answer(call: Call, asked: wire.Answer) -> Answered:
    """Answer a question that was put to the caller; the operator may answer any."""
    await call.service.questions.answer(asked.id, call.name, asked.answer)
    return Answered(asked.id)


@operation("question", OPERATORS, routes=(Route("GET", "/api/questions/{id}"),))
async def question(call: Call, asked: Looking) -> Question:
    """One question, open or not; with `wait` once it is answered, or as it is after so many seconds."""
    words = "the daemon is stopping; the question stays"
    return await unless_stopping(call, _answered(call, asked), words)


async def _answered(call: Call, asked: Looking) -> Question:
    deadline = asyncio.get_running_loop().time() + asked.wait
    while True:
        found = await call.service.questions.get(asked.id)
        left = deadline - asyncio.get_running_loop().time()
        if found.answer is not None or left <= 0:
            return found
        await asyncio.sleep(min(LOOK_SECONDS, left))


@operation("questions", OPERATORS, routes=(Route("GET", "/api/questions"),))
async def questions(call: Call, _asked: Nothing) -> list[Question]:
    """Every open question, newest first."""
    return await call.service.questions.open()


QUESTIONS = (ask, answer, question, questions)
