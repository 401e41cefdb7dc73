"""The text that wakes the model for a turn: who wrote what, and what the model must know beside it. Pure.

The message stands between two lines with a mark that its sender cannot know. So no message can pose as another one, or
as a text of the harness.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from meta.names import HIVE, MANAGER, OPERATOR, SYSTEM
from meta.text import one_line, scrub
from meta.wire.agent import MessageResponse

SENDER_LIMIT = 100
NOTES_LIMIT = 32_000
"""Characters of the agent's own notes that a new conversation begins with."""
CHANGES_SHOWN = 20
NEWS_SHOWN = 40
CHANGE_LIMIT = 1_000
"""Characters of one change of the configuration."""

_AGAIN = (
    "It was delivered before, in a turn that was stopped or broke off: it may already be handled, wholly or in part. "
    "Look before you do anything twice."
)
_GOES_ON = (
    "Your turn on it was paused, and goes on now: continue where you stopped. It may already be handled in part; here "
    "it is again."
)
_CUT = (
    "The turn before was interrupted by a person, who asks for this instead. What it had begun may be incomplete, "
    "and a tool that ran has no result."
)


class Begins(NamedTuple):
    """What came before a turn. `goes_on`: it goes on with a paused run. `cut`: a paused run was given up for it."""

    goes_on: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Around:
    """What the model must know beside the message. `mark` is unknown to every sender.

    `unread` counts the other messages that wait; None: unknown. `changes` are those of the configuration, in words.
    `news` are lines of hive about the container: what was refused, a workspace that is not there yet.
    `notes` are the agent's own, with which a new conversation begins. `begins` is what came before the turn.
    """

    mark: str
    unread: int | None = None
    changes: Sequence[str] = field(default=())
    notes: str | None = None
    news: Sequence[str] = field(default=())
    begins: Begins = field(default_factory=Begins)


def wake(message: MessageResponse, around: Around) -> str:
    """Return the text of a turn."""
    parts = [f"Message {message.id} from {_who(message.sender)}."]
    if around.begins.goes_on:
        parts.append(_GOES_ON)
    elif message.redelivered:
        parts.append(_AGAIN)
    if around.begins.cut:
        parts.append(_CUT)
    parts += filter(None, [_hint(message), _others(around.unread)])
    text = " ".join(parts)
    if around.notes is not None:
        text = f"{_notes(around.notes, around.mark)}\n\n{text}"
    if around.news:
        text = f"{_news(around.news)}\n\n{text}"
    if around.changes:
        text = f"{_changes(around.changes)}\n\n{text}"
    return f"{text}\n\n{_frame(message, around.mark)}"


def more(message: MessageResponse, mark: str) -> str:
    """Return the text of a message that reaches the model within a turn."""
    again = f" {_AGAIN}" if message.redelivered else ""
    hint = _hint(message)
    head = f"While you work, message {message.id} came from {_who(message.sender)}.{again}"
    return f"{head}{' ' if hint else ''}{hint}\n\n{_frame(message, mark)}"


def ask_for_notes(path: str) -> str:
    """Return the text of a turn in which the agent writes down what it must remember."""
    return (
        f"This conversation gets too long and ends now. Write to {path} what you must remember to go on: what you were "
        "asked, what is done, what is open, what you learned. Replace what the file has. At most 200 lines. Do nothing "
        "else. A new conversation begins with this file."
    )


def _frame(message: MessageResponse, mark: str) -> str:
    begin = f"----- message {message.id} begins {mark} -----"
    end = f"----- message {message.id} ends {mark} -----"
    return f"{begin}\n{message.body}\n{end}"


def _notes(notes: str, mark: str) -> str:
    shown = notes[:NOTES_LIMIT]
    cut = "" if len(notes) <= NOTES_LIMIT else f"\n(the first {NOTES_LIMIT} characters)"
    return (
        "This is a new conversation. Before the last one ended, you wrote these notes for yourself:\n\n"
        f"----- notes begin {mark} -----\n{shown}{cut}\n----- notes end {mark} -----"
    )


def _changes(changes: Sequence[str]) -> str:
    shown = [change if len(change) <= CHANGE_LIMIT else f"{change[:CHANGE_LIMIT]}..." for change in changes]
    lines = [f"- {scrub(change)}" for change in shown[:CHANGES_SHOWN]]
    if len(changes) > CHANGES_SHOWN:
        lines.append(f"- and {len(changes) - CHANGES_SHOWN} more settings of agent.toml")
    return "\n".join(["Your configuration changed:", *lines])


def _news(news: Sequence[str]) -> str:
    lines = [one_line(line, CHANGE_LIMIT) for line in news[:NEWS_SHOWN]]
    return "\n".join(["hive says:", *(f"- {line}" for line in lines)])


def _who(sender: str) -> str:
    name = one_line(sender, SENDER_LIMIT)
    match sender:
        case _ if sender == OPERATOR:
            return "the operator"
        case _ if sender == MANAGER:
            return "the manager"
        case _ if sender in (SYSTEM, HIVE):
            return "hive itself"
        case "reminder":
            return "a reminder that you set"
        case "pod.sock":
            return "who drives your pod: the operator's programs, or the pod above you"
        case _ if sender.startswith(("wake:", f"{OPERATOR}:")):
            return f"{name} (a program in your own container; nobody vouches for it)"
        case _:
            return f"the agent {name}"


def _others(unread: int | None) -> str:
    if not unread:
        return ""
    return "1 other message waits." if unread == 1 else f"{unread} other messages wait."


def _hint(message: MessageResponse) -> str:
    """Return what an event of hive asks of the agent."""
    if message.sender != SYSTEM:
        return ""
    try:
        event = json.loads(message.body)
    except (ValueError, RecursionError):
        return ""
    match event.get("event") if isinstance(event, dict) else None:
        case "question_asked":
            return f"It is a question to you: answer it with the tool `answer` and the id {_id(event)}."
        case "question_answered":
            return f"It answers your question {_id(event)}."
        case "message_dead":
            return (
                "A message of yours was given up, because too many turns of its receiver failed with it. It may be the "
                "cause itself: do not send it again unchanged."
            )
        case _:
            return "It is an event: it asks for an answer only if it says so."


def _id(event: dict[str, object]) -> str:
    id = event.get("id")
    return str(id) if isinstance(id, int) else "in it"
