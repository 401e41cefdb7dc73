"""What a person does about questions beside answering them: ask an agent."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import Call, Input
from api.operations.questions import ask
from api.ui.acting import do
from api.ui.page import Action, AnyAction, Done
from meta.wire import agent as wire


class AskInput(Input):
    """A question of the operator. `options` has one on each line."""

    to: str = Field(max_length=100)
    question: str = Field(max_length=65_536)
    options: str = Field("", max_length=65_536)
    multi: bool = False
    ttl: int | None = Field(None, ge=1, le=2**31)


async def ask_it(call: Call, asked: AskInput) -> Done:
    """Ask an agent as the operator."""
    options = tuple(line.strip() for line in asked.options.split("\n") if line.strip())
    question = wire.Ask(
        question=asked.question, options=options, multi=asked.multi, ttl_seconds=asked.ttl, to=asked.to.strip()
    )
    made = await do(call, ask, question)
    return Done(f"Question {made.id} is asked of {made.to}. The answer comes as a message to you.")


ACTIONS: tuple[AnyAction, ...] = (Action("/questions/ask", AskInput, ask_it),)
"""The forms of this page. Answers and cancellations are those of Needs you."""
