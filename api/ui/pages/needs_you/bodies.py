"""What a row unfolds to: each kind has its own body, which is read when it stands open."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from api.operations.base import Nothing
from api.operations.dead_letters import dead_letters
from api.operations.network import network_requests
from api.operations.proposals import ProposalInput, proposal
from api.operations.questions import QuestionInput, question
from api.operations.views import overview
from api.ui.moment import Moment
from api.ui.pages.needs_you.card import ProposalBody, read_proposal
from api.ui.pages.needs_you.checks import RUN
from api.ui.pieces import Piece, prose
from api.ui.progress.read import facts_of
from api.ui.progress.steps import Step, capital, steps_of
from meta.errors import HiveError, NotFound
from meta.names import ProposalId
from reconciler.attention.row import Row
from reconciler.messaging.broker import DeadLetter
from reconciler.messaging.questions import Question
from reconciler.network.requests import NetworkRequest
from reconciler.views import AgentStatus, Card

LETTER_MOST = 4_000
"""Characters of a dead letter that are shown."""


class Body(Protocol):
    """What a row unfolds to."""

    @property
    def template(self) -> str:
        """The template of its part of the page."""


@dataclass(frozen=True, slots=True)
class PlainBody:
    """What hive says of a thing, the command that shows more of it, and what can be done here."""

    template: ClassVar[str] = "needs_you/plain.html"
    detail: tuple[Piece, ...]
    command: str
    row: Row


@dataclass(frozen=True, slots=True)
class QuestionBody:
    """A question to the operator. `is_told`: the row's title has all of it."""

    template: ClassVar[str] = "needs_you/question.html"
    question: Question
    is_told: bool


@dataclass(frozen=True, slots=True)
class HostBody:
    """A host that an agent asked for."""

    template: ClassVar[str] = "needs_you/host.html"
    request: NetworkRequest


@dataclass(frozen=True, slots=True)
class LetterBody:
    """A message that was given up. `text` is its beginning, `more` the characters behind it."""

    template: ClassVar[str] = "needs_you/letter.html"
    letter: DeadLetter
    text: str
    more: int


@dataclass(frozen=True, slots=True)
class LoginBody:
    """An agent whose coding agent has no login."""

    template: ClassVar[str] = "needs_you/login.html"
    agent: AgentStatus
    detail: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class FailedBody:
    """A deploy that failed, with its steps up to there."""

    template: ClassVar[str] = "needs_you/failed.html"
    card: Card
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class UnreadBody:
    """What could not be read now, why, and what to do about it. Nothing can be decided here."""

    template: ClassVar[str] = "needs_you/unread.html"
    summary: str
    hint: str
    command: str


async def read_body(moment: Moment, row: Row, *, split: bool) -> Body:
    """Return the body of a row. What has gone meanwhile is shown as hive's words about it.

    What cannot be read says so in its own place: one proposal must not hide the other rows.
    """
    try:
        if row.kind in ("proposal", "stale-proposal"):
            return await read_proposal(moment, _id(row), row.agent, split=split)
        return await _READERS.get(row.kind, _plain)(moment, row)
    except NotFound:
        return await _plain(moment, row)
    except HiveError as error:
        return UnreadBody(error.summary, error.hint, row.command)


async def _plain(_moment: Moment, row: Row) -> Body:
    return PlainBody(prose(capital(row.detail)), row.command, row)


async def _failed(moment: Moment, row: Row) -> Body:
    card = await moment.ask(proposal, ProposalInput(id=_id(row), agent=row.agent))
    return FailedBody(card, steps_of(await facts_of(moment, card)))


async def _question(moment: Moment, row: Row) -> Body:
    found = await moment.ask(question, QuestionInput(id=_id(row)))
    return QuestionBody(found, is_told=found.question.strip() == row.detail)


async def _host(moment: Moment, row: Row) -> Body:
    id = _id(row)
    for request in await moment.ask(network_requests, Nothing()):
        if request.id == id:
            return HostBody(request)
    raise NotFound(f"request {id} is decided", "look at the list again")


async def _letter(moment: Moment, row: Row) -> Body:
    id = _id(row)
    for letter in await moment.ask(dead_letters, Nothing()):
        if letter.id == id:
            return LetterBody(letter, letter.body[:LETTER_MOST], max(0, len(letter.body) - LETTER_MOST))
    raise NotFound(f"message {id} is no dead letter", "look at the list again")


async def _login(moment: Moment, row: Row) -> Body:
    status = await moment.ask(overview, Nothing())
    agent = next((each for each in status.agents if each.agent == row.agent), None)
    if agent is None:
        raise NotFound(f"there is no agent {row.agent}", "look at the list again")
    return LoginBody(agent, prose(capital(row.detail)))


def is_under_way(body: Body) -> bool:
    """Return True while a check of a proposal goes on: its end is no change that anybody reports."""
    return isinstance(body, ProposalBody) and any(check.result == RUN for check in body.checks)


def state_of(body: Body) -> str:
    """Return a digest of what a body shows. A page that has this digest need not load it again."""
    return hashlib.sha256(repr(body).encode("utf-8", "replace")).hexdigest()[:10]


def _id(row: Row) -> ProposalId:
    """Return the number at the end of a row's key: `proposal:carol:7`, `question:18`. Raise NotFound without one."""
    number = row.key.rpartition(":")[2]
    if not (number.isascii() and number.isdigit()):
        raise NotFound(f"{row.kind} has no number", "look at the list again")
    return ProposalId(int(number))


Reader = Callable[[Moment, Row], Awaitable[Body]]
_READERS: Mapping[str, Reader] = {
    "question": _question,
    "network-request": _host,
    "dead-letter": _letter,
    "agent-needs-login": _login,
    "deploy-failed": _failed,
}
