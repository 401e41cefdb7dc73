"""Live events as harnesses send them, in short."""

from __future__ import annotations

import json
from typing import Any

Event = dict[str, Any]


def turn_start(number: int = 1, body: str = "do it", sender: str = "manager") -> Event:
    return {"kind": "turn_start", "from": sender, "body": body, "unread": 0, "turn": number}


def turn_end(number: int = 1, *, ok: bool = True, note: str | None = None) -> Event:
    return {"kind": "turn_end", "ok": ok, "note": note, "ending": "ok" if ok else "failed", "turn": number}


def usage(seconds: float = 60.0, cost: float = 1.5) -> Event:
    return {"kind": "usage", "runtime": "claude", "seconds": seconds, "ending": "ok", "cost_dollars": cost}


def items(*values: Event) -> Event:
    return {"kind": "stream", "items": list(values)}


def text(words: str) -> Event:
    return items({"type": "text", "text": words})


def delta(piece: str) -> Event:
    return {**items({"type": "text_delta", "text": piece}), "value": None}


def call(id: str, name: str, **arguments: object) -> Event:
    return items({"type": "tool_call", "id": id, "name": name, "input": json.dumps(arguments)})


def result(id: str, output: str = "", *, failed: bool = False) -> Event:
    return items({"type": "tool_result", "id": id, "output": output, "is_error": failed})
