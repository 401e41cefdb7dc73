"""What was decided in the last minutes, and by whom: a row that somebody else dealt with goes with a word. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from api.ui.pages.questions.rows import CANCELLED, RAN_OUT, end_of
from api.ui.pieces import Piece
from api.words.users import with_names
from meta.names import SYSTEM
from meta.text import one_line
from reconciler.messaging.questions import Question
from reconciler.views import Event

SECONDS = 600.0
"""Seconds for which a decision is shown."""
MOST = 3
"""Decisions that are shown: the newest."""
READ = 60
"""Events that are read for that."""
QUESTION_END = "question_answered"
"""The kind of event of a question that was answered, cancelled, or expired."""
_NAME_MOST = 80


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: the words, and when it was taken. `css` is the colour of what came of it."""

    id: str
    words: tuple[Piece, ...]
    at: float
    css: str = ""


Words = Callable[[Event], Iterator[Piece]]


def decisions(events: Sequence[Event], ended: Sequence[Question], now: float) -> tuple[Decision, ...]:
    """Return the newest decisions of the last minutes, newest first. `events` are the oldest first.

    `ended` are the questions that ended last: an event does not say how its question did.
    """
    recent = [event for event in events if event.kind in _KINDS and 0 <= now - event.at < SECONDS]
    return tuple(_decision(event, ended) for event in reversed(recent[-MOST:]))


def decision_of(key: str, events: Sequence[Event], ended: Sequence[Question]) -> Decision | None:
    """Return the decision that took a row away; None if no event says so. The rest is as in `decisions`."""
    kind, *names = key.split(":")
    for event in reversed(events):
        is_its = names[-1:] == [str(event.data.get("id"))] and (len(names) < 2 or names[0] == event.agent)
        if is_its and event.kind in _TAKES.get(kind, ()):
            return _decision(event, ended)
    return None


def _decision(event: Event, ended: Sequence[Question]) -> Decision:
    words = tuple(_question(event, ended) if event.kind == QUESTION_END else _WORDS[event.kind](event))
    return Decision(f"e{event.seq.rpartition('-')[2]}", words, event.at, _CSS.get(event.kind, ""))


def _word(event: Event, key: str, most: int = _NAME_MOST) -> str:
    value = event.data.get(key)
    return "" if value is None else one_line(str(value), most)


def _by(event: Event, key: str = "by") -> Piece:
    return Piece(with_names(_word(event, key)) or "somebody", "b")


def _is_spawn(event: Event) -> bool:
    return event.data.get("kind") == "spawn"


def _proposal(verb: str, key: str = "by") -> Words:
    def words(event: Event) -> Iterator[Piece]:
        yield _by(event, key)
        what = "the spawn" if _is_spawn(event) else f"proposal {_word(event, 'id')}"
        yield Piece(f" {verb} {what} of ")
        yield Piece(event.agent or "", "b")
        if verb == "denied" and (note := _word(event, "note", 160)):
            yield Piece(f": {note}")

    return words


def _question(event: Event, ended: Sequence[Question]) -> Iterator[Piece]:
    id, asker = event.data.get("id"), Piece(event.agent or "the operator", "b")
    end = next((end_of(each) for each in ended if each.id == id), None)
    if event.data.get("by") == SYSTEM:
        yield from (Piece(f"Question {id} of "), asker)
        yield Piece({RAN_OUT: " expired", CANCELLED: " was cancelled"}.get(end or "", " ended"))
        return
    yield _by(event)
    yield from (Piece(f" {(end or 'Ended').lower()} question {id} of "), asker)


def _host(verb: str) -> Words:
    def words(event: Event) -> Iterator[Piece]:
        yield _by(event)
        yield Piece(f" {verb} ")
        yield Piece(event.agent or "", "b")
        yield Piece(" the host ")
        yield Piece(_word(event, "rule", 300), "code")

    return words


def _deploy(words_after: str) -> Words:
    def words(event: Event) -> Iterator[Piece]:
        yield Piece("The spawn of " if _is_spawn(event) else f"Deploy {_word(event, 'id')} of ")
        yield Piece(event.agent or "", "b")
        yield Piece(words_after)

    return words


_WORDS: Mapping[str, Words] = {
    "proposal_approved": _proposal("approved", "approved_by"),
    "proposal_denied": _proposal("denied"),
    "network_allowed": _host("allowed"),
    "network_denied": _host("refused"),
    "deploy_succeeded": _deploy(" is done"),
    "deploy_failed": _deploy(" failed"),
}
_CSS: Mapping[str, str] = {"deploy_succeeded": "ok", "deploy_failed": "bad"}
_PROPOSAL = ("proposal_approved", "proposal_denied")
_TAKES: Mapping[str, Sequence[str]] = {
    "proposal": _PROPOSAL,
    "stale-proposal": _PROPOSAL,
    "question": (QUESTION_END,),
    "network-request": ("network_denied",),
}
"""The kinds of events that take a row away, by the kind of the row."""

_KINDS = (*_WORDS, QUESTION_END)
KINDS = ",".join(_KINDS)
"""The kinds of events to read."""
