"""Questions: asked by an agent or the operator, answered by their target or by the operator.

Each change of a row is one transaction with the helper event that reports it (docs/reference/questions.md).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from meta.errors import BadInput, Conflict, NotFound, Refused, TransientError
from meta.names import MANAGER, OPERATOR, SYSTEM
from meta.wire.events import QuestionAnswered, QuestionAsked
from meta.wire.limits import ANSWER_BYTES, OPTION_BYTES, OPTIONS_MOST, QUESTION_BYTES
from reconciler.common.token_bucket import Allowance
from reconciler.messaging.shorten import shortened
from reconciler.messaging.ticker import seconds_from
from reconciler.store import questions
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.events import log
from reconciler.store.notices import ANSWERS, asked_by, has_room, notify, withdraw
from reconciler.store.questions import EndedPage, Question

__all__ = ["EndedPage", "Question", "Questions"]

OPEN_MOST = 100
"""Open questions of one asker: at most this many."""
OPEN_BYTES = 512 * 1024
"""Bytes of the open questions of one asker, with their options as JSON: at most this many."""
LISTED_MOST = 1000
LISTED_BYTES = 2**20
"""Bytes of the texts in one list, as JSON: at most this many. Options add at most 2 KiB for each question."""
_TEXT_BYTES = 4096
_OPTIONS_BYTES = 1024
"""Bytes of one text in a list, and of the options of one question. Longer texts are cut, longer options left out."""
_ENDED_BYTES = 1024
"""Bytes of one text of a question that has ended, in a list."""
JOINT = ", "
"""The separator between several answers."""
EXPIRED = "[expired]"
_BATCH = 100


class Questions:
    """The questions of one hive.

    `check(sender, to)` raises an error if `sender` may not write to `to`, or if `to` does not exist. `known` returns
    True for the name of an agent. `wake` wakes the receivers of an inbox. `clock` gives Unix seconds. `allowance`
    limits the events that each agent causes.
    """

    def __init__(
        self,
        db: Database,
        *,
        check: Callable[[str, str], Awaitable[None]],
        known: Callable[[str], bool],
        wake: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        allowance: Allowance | None = None,
    ) -> None:
        self._db = db
        self._check = check
        self._known = known
        self._wake = wake
        self._clock = clock
        self._allowance = allowance or Allowance()
        self._listeners: list[Callable[[], None]] = []

    def on_new(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a question with a time limit is asked."""
        self._listeners.append(listener)

    async def ask(
        self, asker: str, question: str, options: tuple[str, ...], multi: bool, ttl_seconds: int | None, to: str | None
    ) -> int:
        """Ask the operator (`to` None) or an agent. Return the question's id once it is durable.

        `options` are advice: any text is an answer. After `ttl_seconds` the answer is `[expired]`. Raise BadInput
        (texts, no such target), Conflict (too many open questions), TransientError (the asker is too fast, or its
        questions and answers fill an inbox).
        """
        target = OPERATOR if to is None else to
        _check_texts(question, options, multi)
        if asker == target:
            raise BadInput(f"{asker} cannot ask itself", "name the agent to ask; `remind` sends a message to yourself")
        if target == "*":
            raise BadInput("a question goes to one agent, not to all", "ask each agent, or send a broadcast")
        await self._check(asker, target)
        for name in (asker, target):
            self._check_exists(name)  # no await follows until the row is submitted, so no row is added after `forget`
        now = self._clock()
        expires = None if ttl_seconds is None else seconds_from(now, ttl_seconds)
        self._allowance.spend(asker, 2)  # one event for the question and one for its end

        def work(connection: Transaction) -> int:
            _check_room(connection, asker, target, len(question.encode()) + len(questions.stored(options)))
            row = (asker, target, question, options, multi, int(now), expires)
            id = questions.insert(connection, *row)
            log.append(connection, now, "question_asked", _agent(asker), {"id": id, "target": target})
            if target != OPERATOR:
                event = QuestionAsked(id=id, asker=asker, question=question, options=options, multi=multi)
                questions.set_notice(connection, id, notify(connection, target, event, int(now)))
            return id

        id = await self._db.write(work)
        if target != OPERATOR:
            self._wake(target)
        if expires is not None:
            for listener in self._listeners:
                listener()
        return id

    async def answer(self, id: int, by: str, answer: str, who: str = "") -> None:
        """Answer a question as its target or as the operator: `who` is the person for the record.

        Raise NotFound, Refused, or Conflict if it has an answer already.
        """
        _check_text("the answer", answer, ANSWER_BYTES)
        if not answer.strip():
            raise BadInput("the answer is empty", "give a text, for example `none of these`")

        def allow(question: Question) -> None:
            if by not in (question.target, OPERATOR):
                raise Refused(
                    f"question {question.id} was not asked of {by}", "only its target or the operator answers"
                )

        await self._end(id, answer, by, _person(by, who), allow)

    async def cancel(self, id: int, by: str, who: str = "") -> None:
        """Withdraw a question, for its asker, the manager or the operator: `who` is the person for the record.

        Raise NotFound, Refused, Conflict.
        """

        def allow(question: Question) -> None:
            if by not in (question.asker, MANAGER, OPERATOR):
                raise Refused(f"question {question.id} was not asked by {by}", "only its asker may cancel it")

        await self._end(id, cancelled(by), by, _person(by, who), allow)

    async def get(self, id: int) -> Question:
        """Return one question, open or not. Raise NotFound."""
        return _existing(await self._db.read(partial(questions.get, id=id)), id)

    async def open(self, name: str | None = None) -> list[Question]:
        """Return the newest LISTED_MOST open questions, newest first.

        With `name`, only those that it asked or has to answer. Long texts are cut with an ellipsis, and long options
        are left out (`cut`): all texts together have at most LISTED_BYTES. `get` returns a whole question.
        """
        listed = await self.beginnings(name, LISTED_MOST, _OPTIONS_BYTES)
        return [
            question if text == question.question else replace(question, question=text, cut=True)
            for question, text in zip(
                listed, shortened([question.question for question in listed], LISTED_BYTES), strict=True
            )
        ]

    async def beginnings(self, name: str | None, most: int, options_bytes: int = 0) -> list[Question]:
        """Return the newest `most` open questions as `open` does. Limit each text alone, and not their sum."""
        work = partial(questions.listed, name=name, most=most, text_bytes=_TEXT_BYTES, options_bytes=options_bytes)
        return await self._db.read(work)

    async def ended(self, name: str | None, before: int | None, most: int) -> EndedPage:
        """Return the newest `most` questions that have ended, the last one first, without options.

        With `name`, only those that it asked or was asked; with `before`, those that ended before this one. Long texts
        are cut (`cut`).
        """
        work = partial(questions.ended, name=name, before=before, most=most, text_bytes=_ENDED_BYTES)
        return await self._db.read(work)

    async def asked_of(self, target: str, most: int, text_bytes: int) -> list[Question]:
        """Return the open questions that `target` has to answer, newest first, without options.

        Read the newest `most` that it asked or has to answer. Texts are cut to `text_bytes`.
        """
        work = partial(questions.listed, name=target, most=most, text_bytes=text_bytes, options_bytes=0)
        return [question for question in await self._db.read(work) if question.target == target]

    async def count(self, target: str) -> int:
        """Return how many open questions `target` has to answer."""
        return await self._db.read(partial(questions.count_asked, target=target))

    async def expire_due(self, now: float | None = None) -> int:
        """Answer every expired question with `[expired]`. Return how many."""
        at, count = int(self._clock() if now is None else now), 0
        while True:
            askers = await self._db.write(partial(self._expire, at=at))
            self._wake_all(askers)
            count += len(askers)
            if len(askers) < _BATCH:
                return count

    async def do_due(self) -> int | None:
        """Answer every expired question. Return when the next one expires."""
        now = self._clock()
        await self.expire_due(now)
        return await self._db.read(partial(questions.next_due, after=int(now)))

    async def clean(self, now: float) -> int:
        """Remove questions that ended over 30 days before `now`. Return how many. Call it hourly."""
        return await self._db.write(partial(questions.clean, now=int(now)))

    async def forget(self, agent: str) -> None:
        """Close the questions of and to an agent that is destroyed, and notify their askers."""

        def work(connection: Transaction) -> list[str]:
            now = int(self._clock())
            return [
                self._close(connection, question, cancelled(SYSTEM), SYSTEM, now, destroyed=agent)
                for question in questions.open_ones(connection, agent)
            ]

        self._wake_all(await self._db.write(work))

    async def _end(self, id: int, answer: str, by: str, who: str, allow: Callable[[Question], None]) -> None:
        def work(connection: Transaction) -> str:
            question = _existing(questions.get(connection, id), id)
            allow(question)
            if question.answered_at is not None:
                raise Conflict(f"question {id} was answered already, by {question.answerer}", "nothing was changed")
            return self._close(connection, question, answer, by, int(self._clock()), who=who)

        self._wake_all([await self._db.write(work)])

    def _expire(self, connection: Transaction, at: int) -> list[str]:
        return [
            self._close(connection, question, EXPIRED, SYSTEM, at) for question in questions.due(connection, at, _BATCH)
        ]

    def _close(
        self,
        connection: Transaction,
        question: Question,
        answer: str,
        by: str,
        at: int,
        destroyed: str = "",
        *,
        who: str = "",
    ) -> str:
        """Close one question and notify its asker, unless that is `destroyed`. Return the asker, or "".

        The asker is told `by`, an address; the record has `who`, a person.
        """
        notice = questions.close(connection, question.id, answer, who or by, at)
        if notice is not None:
            withdraw(connection, notice)
        asker = question.asker
        log.append(connection, at, "question_answered", _agent(asker), {"id": question.id, "by": who or by})
        if asker == destroyed or not (asker in (OPERATOR, MANAGER) or self._known(asker)):
            return ""
        event = QuestionAnswered(id=question.id, question=question.question, answer=answer, answerer=by)
        notify(connection, asker, event, at)
        return asker

    def _wake_all(self, askers: list[str]) -> None:
        for asker in {*askers} - {""}:
            self._wake(asker)

    def _check_exists(self, name: str) -> None:
        if name not in (OPERATOR, MANAGER) and not self._known(name):
            raise NotFound(f"there is no agent {name[:40]!r}", "see `hive list`")


def cancelled(by: str) -> str:
    """Return the answer of a cancelled question."""
    return f"[cancelled by {by}]"


def address(answerer: str) -> str:
    """Return the address of who ended a question: `operator` for `operator uid 1000`. Names of agents have no space."""
    return answerer.partition(" ")[0]


def _person(by: str, who: str) -> str:
    """Return `who` for the operator, of whom there may be several, and the name of an agent."""
    return who if who and by == OPERATOR else by


def _existing(question: Question | None, id: int) -> Question:
    if question is None:
        raise NotFound(f"there is no question {id}", "see `hive questions`, or the loose ends")
    return question


def _agent(name: str) -> str | None:
    """Return the agent that an event is about; None for the operator."""
    return None if name == OPERATOR else name


def _check_room(connection: Transaction, asker: str, target: str, more: int) -> None:
    waiting, size = questions.open_size(connection, asker)
    if waiting >= OPEN_MOST:
        raise Conflict(
            f"{asker} has {waiting} open questions, the limit is {OPEN_MOST}", "cancel some, or wait for answers"
        )
    if size + more > OPEN_BYTES:
        raise Conflict(
            f"the open questions of {asker} would have {size + more} bytes, the limit is {OPEN_BYTES}",
            "cancel some, wait for answers, or ask in fewer words",
        )
    for name, topic in ((target, asked_by(asker)), (asker, ANSWERS)):
        if name != OPERATOR and not has_room(connection, name, topic):
            raise TransientError(
                f"the inbox of {name} holds too many questions of {asker}, or answers to them",
                f"wait until {name} has read and acked some",
            )


def _check_texts(question: str, options: tuple[str, ...], multi: bool) -> None:
    if not question.strip():
        raise BadInput("the question is empty", "give its text")
    _check_text("the question", question, QUESTION_BYTES)
    if len(options) > OPTIONS_MOST:
        raise BadInput(f"the question has {len(options)} options, the limit is {OPTIONS_MOST}", "offer fewer")
    for option in options:
        _check_text("an option", option, OPTION_BYTES)
        if not option.strip():
            raise BadInput("an option is empty", "leave it out: any text is an answer")
        if multi and JOINT in option:
            raise BadInput(
                f"the option {option[:40]!r} contains {JOINT!r}, which separates the answers of `multi`",
                "word it without a comma and a space",
            )
    if len(set(options)) < len(options):
        raise BadInput("an option is given twice", "offer each once")


def _check_text(what: str, text: str, limit: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} is not valid text: it has a lone surrogate", "send well-formed Unicode") from error
    if size > limit:
        raise BadInput(f"{what} has {size} bytes, the limit is {limit}", "put it into a file and name the path")
