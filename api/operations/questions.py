"""Questions to the operator or to another agent, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pydantic import Field

from api.operations.base import (
    CHANGES,
    EVERYBODY,
    OPERATORS,
    READS,
    Call,
    Input,
    Nothing,
    Route,
    Tool,
    on_agents,
    operation,
)
from api.operations.waiting import unless_stopping
from meta.errors import TransientError
from meta.wire import agent as wire
from meta.wire.common import I64
from reconciler.events.feed import Resync
from reconciler.messaging.questions import LISTED_MOST, EndedPage, Question
from reconciler.views import Event


class QuestionInput(Input):
    """One question."""

    id: I64
    wait: float = Field(0.0, ge=0, le=60, description="seconds to wait for its answer")


class EndedInput(Input):
    """Which questions that have ended."""

    agent: str | None = Field(None, max_length=100, description="only those that it asked or was asked")
    before: int | None = Field(None, ge=0, le=2**63 - 1, description="only those that ended before this one")
    limit: int = Field(50, ge=1, le=LISTED_MOST, description="how many")


@dataclass(frozen=True, slots=True)
class AskResult:
    """A question that is durable."""

    id: int
    to: str


@dataclass(frozen=True, slots=True)
class AnswerResult:
    """A question that has an answer."""

    id: int


def _queued_response(asked: AskResult) -> wire.QuestionQueuedResponse:
    return wire.QuestionQueuedResponse(id=asked.id)


def _asked_text(_call: Call, asked: AskResult) -> str:
    return f"question {asked.id} to {asked.to} is asked; its answer comes as a message from system"


def _answered_text(_call: Call, answered: AnswerResult) -> str:
    return f"question {answered.id} is answered"


@operation(
    "ask",
    EVERYBODY,
    CHANGES,
    lines=(on_agents(wire.Ask, _queued_response),),
    routes=(Route("POST", "/api/questions", status=201, limit=2**23),),
    tool=Tool(_asked_text),
)
async def ask(call: Call, asked: wire.Ask) -> AskResult:
    """Ask the operator or an agent. The answer comes later as a message."""
    id = await call.service.questions.ask(
        call.name, asked.question, asked.options, asked.multi, asked.ttl_seconds, asked.to
    )
    return AskResult(id, asked.to or "the operator")


@operation(
    "answer",
    EVERYBODY,
    CHANGES,
    lines=(on_agents(wire.Answer),),
    routes=(Route("POST", "/api/questions/{id}/answer", limit=2**23),),
    tool=Tool(_answered_text),
)
async def answer(call: Call, asked: wire.Answer) -> AnswerResult:
    """Answer a question to the caller. The operator may answer any question."""
    await call.service.questions.answer(asked.id, call.name, asked.answer, call.who)
    return AnswerResult(asked.id)


@operation("question", OPERATORS, READS, routes=(Route("GET", "/api/questions/{id}"),))
async def question(call: Call, asked: QuestionInput) -> Question:
    """Return one question, open or not. `wait`: wait for its answer for at most this many seconds."""
    message = "the daemon is stopping; the question stays open"
    return await unless_stopping(call, _wait_for_answer(call, asked), message)


async def _wait_for_answer(call: Call, asked: QuestionInput) -> Question:
    questions, deadline = call.service.questions, asyncio.get_running_loop().time() + asked.wait
    async with call.service.events.subscribe(
        None
    ) as coming:  # before reading the question, so that no answer is missed
        question = await questions.get(asked.id)
        try:
            async with asyncio.timeout_at(deadline):
                while question.answer is None:
                    await _until_one_is_answered(coming)
                    question = await questions.get(asked.id)
        except TimeoutError:
            pass
        except Resync as error:
            raise TransientError("too many events at once", "try again") from error
    return question


async def _until_one_is_answered(coming: AsyncIterator[Event]) -> None:
    async for event in coming:
        if event.kind == "question_answered":
            return
    raise TransientError("the daemon is stopping; the question stays open", "`hive questions`")


@operation("questions", OPERATORS, READS, routes=(Route("GET", "/api/questions"),))
async def questions(call: Call, _asked: Nothing) -> list[Question]:
    """List every open question, newest first."""
    return await call.service.questions.open()


@operation("ended_questions", OPERATORS, READS, routes=(Route("GET", "/api/ended-questions"),))
async def ended_questions(call: Call, asked: EndedInput) -> EndedPage:
    """List questions that were answered, cancelled or expired, the last one first, with long texts cut."""
    return await call.service.questions.ended(asked.agent or None, asked.before, asked.limit)


QUESTIONS = (ask, answer, question, questions, ended_questions)
