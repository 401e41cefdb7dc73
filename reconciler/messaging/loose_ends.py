"""Loose ends: pending approvals, open questions and waiting reminders that concern an agent, as wire values."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from meta.names import MANAGER, OPERATOR
from meta.wire.common import ApprovalEnd, CancelLooseEndKind, LooseEnd, QuestionEnd, ReminderEnd
from reconciler.messaging.questions import Question, Questions
from reconciler.messaging.reminders import Reminder, Reminders
from reconciler.messaging.shorten import shortened
from reconciler.views import Card

ENDS_MOST = 300
"""Loose ends of one kind in a list: at most this many, the newest."""
ENDS_BYTES = 256 * 1024
"""Bytes of all texts in a list, as JSON: at most this many."""
_ENVELOPE = 192
"""Bytes of a loose end beside its text."""


class LooseEnds:
    """The loose ends of one hive. `pending` returns the cards that wait for a decision; `clock` gives Unix seconds."""

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
        """Return the loose ends of `name`: approvals, then questions, then reminders, each newest first.

        An agent sees questions that it asked or has to answer, and its own reminders. Manager and operator see all. The
        list has at most ENDS_MOST of a kind and ENDS_BYTES together. Long texts are cut, with an ellipsis.
        """
        everything = name in (MANAGER, OPERATOR)
        only = None if everything else name
        cards = sorted(await self._pending(), key=lambda card: -card.id)[:ENDS_MOST] if everything else []
        questions = await self._questions.beginnings(only, ENDS_MOST)
        reminders = (await self._reminders.of(only))[:ENDS_MOST]
        now = int(self._clock())
        whole = [
            *(card.description or "" for card in cards),
            *(question.question for question in questions),
            *(reminder.message for reminder in reminders),
        ]
        texts = iter(shortened(whole, ENDS_BYTES - _ENVELOPE * len(whole)))
        return (
            *(_approval(card, next(texts), now) for card in cards),
            *(_question(question, next(texts), now) for question in questions),
            *(_reminder(reminder, next(texts), now) for reminder in reminders),
        )

    async def cancel(self, kind: CancelLooseEndKind, id: int, by: str, who: str = "") -> None:
        """Cancel a question or a reminder. An approval is denied instead. `who` is the caller for the record.

        Raise NotFound, Refused, Conflict.
        """
        match kind:
            case CancelLooseEndKind.QUESTION:
                await self._questions.cancel(id, by, who)
            case CancelLooseEndKind.REMINDER:
                await self._reminders.cancel(id, by)
            case _:
                assert_never(kind)


def _approval(card: Card, text: str, now: int) -> ApprovalEnd:
    return ApprovalEnd(
        id=card.id,
        agent=card.agent,
        commit_ref=card.commit_ref,
        description=text or card.description,
        age_seconds=_age(now, card.requested_at),
    )


def _question(question: Question, text: str, now: int) -> QuestionEnd:
    return QuestionEnd(
        id=question.id,
        asker=question.asker,
        target=None if question.target == OPERATOR else question.target,
        question=text,
        age_seconds=_age(now, question.asked_at),
    )


def _reminder(reminder: Reminder, text: str, now: int) -> ReminderEnd:
    return ReminderEnd(
        id=reminder.id,
        owner=reminder.owner,
        message=text,
        due_at=reminder.due_at,
        age_seconds=_age(now, reminder.made_at),
    )


def _age(now: int, since: int) -> int:
    """Return the age in seconds; 0 if the clock was set back."""
    return max(0, now - since)
