"""Loose ends: pending approvals, open questions and waiting reminders, as wire values, by who looks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from meta.names import MANAGER
from meta.wire.common import ApprovalEnd, CancelLooseEndKind, LooseEnd, QuestionEnd, ReminderEnd
from reconciler.questions import OPERATOR, Question, Questions, speaker
from reconciler.reminders import Reminder, Reminders
from reconciler.views import Card


class LooseEnds:
    """One per daemon. `pending` gives the cards that wait for the operator; `clock` gives Unix seconds."""

    def __init__(
        self,
        questions: Questions,
        reminders: Reminders,
        pending: Callable[[], Awaitable[Sequence[Card]]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._questions = questions
        self._reminders = reminders
        self._pending = pending
        self._clock = clock

    async def of(self, name: str) -> tuple[LooseEnd, ...]:
        """What is open for `name`: approvals, then questions, then reminders, each newest first.

        An agent sees questions that it asked or is asked, and its own reminders; manager and operator see everything.
        """
        name = speaker(name)
        everything = name in (MANAGER, OPERATOR)
        only = None if everything else name
        cards = sorted(await self._pending(), key=lambda card: card.id, reverse=True) if everything else ()
        questions = await self._questions.open(only)
        reminders = await self._reminders.of(only)
        now = int(self._clock())
        return (
            *(_approval(card, now) for card in cards),
            *(_question(question, now) for question in questions),
            *(_reminder(reminder, now) for reminder in reminders),
        )

    async def cancel(self, kind: CancelLooseEndKind, id: int, by: str) -> None:
        """Cancel a question or a reminder; nobody can cancel an approval here. Raises NotFound, Refused, Conflict."""
        match kind:
            case CancelLooseEndKind.QUESTION:
                await self._questions.cancel(id, by)
            case CancelLooseEndKind.REMINDER:
                await self._reminders.cancel(id, by)
            case _:
                assert_never(kind)


def _approval(card: Card, now: int) -> ApprovalEnd:
    return ApprovalEnd(
        id=card.id,
        agent=card.agent,
        commit_ref=card.commit_ref,
        description=card.description,
        age_seconds=_age(now, card.requested_at),
    )


def _question(question: Question, now: int) -> QuestionEnd:
    return QuestionEnd(
        id=question.id,
        asker=question.asker,
        target=None if question.target == OPERATOR else question.target,
        question=question.question,
        age_seconds=_age(now, question.asked_at),
    )


def _reminder(reminder: Reminder, now: int) -> ReminderEnd:
    return ReminderEnd(
        id=reminder.id,
        owner=reminder.owner,
        message=reminder.message,
        due_at=reminder.due_at,
        age_seconds=_age(now, reminder.made_at),
    )


def _age(now: int, since: int) -> int:
    """Seconds, zero where the clock was set back."""
    return max(0, now - since)
