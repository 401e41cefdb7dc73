"""The rows of the page Questions. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from api.words.texts import title
from meta.names import OPERATOR, SYSTEM
from reconciler.messaging.questions import EXPIRED, Question, address, cancelled

ANSWERED, CANCELLED, RAN_OUT = "Answered", "Cancelled", "Expired"
"""How a question ends, in a word."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question. `title` is one line of it; `left` is when it expires. `whole` has it with its options, if shown."""

    id: int
    asker: str
    target: str
    title: str
    at: float
    left: float | None
    whole: Question | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """One question that has ended. `end` says how in a word, `css` is its class, `answer` is what the asker got."""

    id: int
    asker: str
    target: str
    title: str
    question: str
    end: str
    css: str
    by: str
    answer: str
    at: float
    cut: bool


def open_rows(questions: Iterable[Question], wholes: Iterable[Question]) -> tuple[list[Row], list[Row]]:
    """Return the questions to the operator, and those between agents. `wholes` are shown with their forms."""
    known = {each.id: each for each in wholes}
    rows = [
        Row(
            each.id,
            each.asker,
            each.target,
            title(each.question),
            float(each.asked_at),
            None if each.expires_at is None else float(each.expires_at),
            known.get(each.id),
        )
        for each in questions
    ]
    return [row for row in rows if row.target == OPERATOR], [row for row in rows if row.target != OPERATOR]


def ended_row(question: Question) -> Ended:
    """Return a question that has ended as it is shown."""
    end = end_of(question)
    return Ended(
        question.id,
        question.asker,
        question.target,
        title(question.question),
        question.question,
        end,
        "warn" if end == RAN_OUT else "",
        question.answerer or "",
        question.answer or "" if end == ANSWERED else "",
        float(question.answered_at or question.asked_at),
        question.cut,
    )


def end_of(question: Question) -> str:
    """Return in a word how a question ended. Only hive's own words end one without an answer."""
    if question.answer == EXPIRED and question.answerer == SYSTEM:
        return RAN_OUT
    return CANCELLED if question.answer == cancelled(address(question.answerer or "")) else ANSWERED
