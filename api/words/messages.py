"""Messages as people read them: a message from hive itself (a helper event, JSON in the body) as a sentence.

The table has every kind in meta.wire.events. A body that is not understood, perhaps of a newer daemon, stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from api.words import texts
from meta.names import SYSTEM

Data = dict[str, Any]


def text(row: Data) -> str:
    """Return the body of an inbox row for people."""
    return readable(row["from"], str(row["body"]))


def readable(sender: str, body: str) -> str:
    """Return the body of a message from `sender` for people."""
    if sender != SYSTEM:
        return body
    try:
        event = json.loads(body)
        return SENTENCES[event["event"]](event)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return body


def _why(event: Data) -> str:
    """Return the reason, if there is one."""
    return f": {event['note']}" if event.get("note") else ""


def _resolved(event: Data) -> str:
    tag = f" ({event['tag']})" if event.get("tag") else ""
    return f"proposal {event['id']} of {event['agent']} is {event['status']}{tag}{_why(event)}"


def _done(event: Data, did: str, did_not: str) -> str:
    return f"{event['agent']} {did if event['ok'] else did_not}{_why(event)}"


def _answered(event: Data) -> str:
    asked = f"question {event['id']} ({texts.first_line(event['question'])})"
    if event["answerer"] == SYSTEM or event["answer"] == f"[cancelled by {event['answerer']}]":
        return f"{asked} has no answer: {event['answer']}"
    return f"{event['answerer']} answers {asked}: {event['answer']}"


def _asked(event: Data) -> str:
    options = f" ({', '.join(event['options'])})" if event.get("options") else ""
    return f"{event['asker']} asks question {event['id']}: {event['question']}{options}"


def _dead(event: Data) -> str:
    return f"message {event['id']} to {event['to']} was never handled ({event['attempts']} attempts): {event['body']}"


SENTENCES: dict[str, Callable[[Data], str]] = {
    "approval_resolved": _resolved,
    "spawned": lambda e: _done(e, "is spawned", "could not be spawned"),
    "rebuilt": lambda e: _done(e, "is rebuilt", "could not be rebuilt"),
    "killed": lambda e: f"{e['agent']} is stopped on request",
    "destroyed": lambda e: f"{e['agent']} is destroyed",
    "needs_login": lambda e: f"{e['agent']} has no login; only a person can log in",
    "logged_in": lambda e: f"{e['agent']} is logged in",
    "needs_update": lambda e: f"{e['agent']} was built with another hive, nixpkgs or agentModules",
    "container_crash": lambda e: f"{e['agent']} ended by itself{_why(e)}",
    "question_answered": _answered,
    "question_asked": _asked,
    "message_dead": _dead,
}
"""The sentence for each kind of helper event."""
