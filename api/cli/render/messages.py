"""Messages as people read them: what hive itself tells (helper events, JSON in the body) as a sentence.

One table, for all that meta.wire.events has. What is not understood, from a newer daemon perhaps, stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from api.cli.client.http import Row
from api.cli.render import output
from meta.names import SYSTEM

Data = dict[str, Any]
"""Who hive's own messages are from; no peer can have that name."""


def text(row: Row) -> str:
    """The body of a row of an inbox, readable."""
    body = str(row["body"])
    if row["from"] != SYSTEM:
        return body
    try:
        event = json.loads(body)
        return SENTENCES[event["event"]](event)
    except (ValueError, KeyError, TypeError, RecursionError):
        return body


def _why(event: Data) -> str:
    """The reason, where there is one."""
    return f": {event['note']}" if event.get("note") else ""


def _resolved(event: Data) -> str:
    tag = f" ({event['tag']})" if event.get("tag") else ""
    return f"proposal {event['id']} of {event['agent']} is {event['status']}{tag}{_why(event)}"


def _done(event: Data, did: str, did_not: str) -> str:
    return f"{event['agent']} {did if event['ok'] else did_not}{_why(event)}"


def _answered(event: Data) -> str:
    asked = f"question {event['id']} ({output.first_line(event['question'])})"
    if event["answerer"] == SYSTEM or event["answer"] == f"[cancelled by {event['answerer']}]":
        return f"{asked} has no answer: {event['answer']}"
    return f"{event['answerer']} answers {asked}: {event['answer']}"


def _asked(event: Data) -> str:
    options = f" ({', '.join(event['options'])})" if event.get("options") else ""
    return f"{event['asker']} asks question {event['id']}: {event['question']}{options}"


SENTENCES: dict[str, Callable[[Data], str]] = {
    "approval_resolved": _resolved,
    "spawned": lambda e: _done(e, "is spawned", "could not be spawned"),
    "rebuilt": lambda e: _done(e, "is rebuilt", "could not be rebuilt"),
    "killed": lambda e: f"{e['agent']} is stopped, as was asked for",
    "destroyed": lambda e: f"{e['agent']} is destroyed",
    "needs_login": lambda e: f"{e['agent']} has no login; only a person can log in",
    "logged_in": lambda e: f"{e['agent']} is logged in",
    "needs_update": lambda e: f"{e['agent']} was built with another hive",
    "container_crash": lambda e: f"{e['agent']} ended by itself{_why(e)}",
    "question_answered": _answered,
    "question_asked": _asked,
}
"""Kind of helper event -> what it says."""
