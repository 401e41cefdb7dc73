"""The history of a pod: what its event log has, as the items of the pod protocol.

The seed leaves open what an item is. Here it has a `type`: message (with `role` and `content`), tool_call, tool_result,
note or compaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.events.database import Row
from meta.errors import HiveError
from meta.wire.live import (
    AnyItem,
    Compaction,
    LiveEvent,
    Note,
    Stream,
    Text,
    ToolCall,
    ToolResult,
    TurnStart,
    decode_event,
)

ITEMS = 500
"""Items of a history, at most: the newest."""
SIZE = 512 * 1024
"""Characters of all their texts, at most."""
TEXT_LIMIT = 32 * 1024


def history_items(rows: Iterable[Row]) -> tuple[dict[str, Any], ...]:
    """Return the items of these rows of the log, oldest first: the newest that are within the bounds."""
    items: list[dict[str, Any]] = []
    for row in rows:
        try:
            event = decode_event(row.text)
        except HiveError:
            continue  # an older hive or the agent wrote it
        items += _items(event)
    kept: list[dict[str, Any]] = []
    size = 0
    for item in reversed(items[-ITEMS:]):
        size += _length(item)
        if size > SIZE:
            break
        kept.append(item)
    return tuple(reversed(kept))


def _items(event: LiveEvent) -> list[dict[str, Any]]:
    match event:
        case TurnStart(sender=sender, body=body):
            return [{**_message("user", body), "from": sender[:200]}]
        case Stream(items=parts):
            return [item for part in parts if (item := _part(part)) is not None]
        case Note(text=text):
            return [{"type": "note", "text": text[:TEXT_LIMIT]}]
        case Compaction():
            return [{"type": "compaction", "text": event.note[:TEXT_LIMIT]}]
        case _:
            return []


def _part(part: AnyItem) -> dict[str, Any] | None:
    match part:
        case Text(text=text):
            return _message("assistant", text)
        case ToolCall(id=id, name=name, input=arguments):
            return {"type": "tool_call", "id": id[:200], "name": name[:200], "arguments": arguments[:TEXT_LIMIT]}
        case ToolResult(id=id, output=output, is_error=is_error):
            return {"type": "tool_result", "id": id[:200], "output": output[:TEXT_LIMIT], "is_error": is_error}
        case _:
            return None


def _message(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "text", "text": text[:TEXT_LIMIT]}]}


def _length(value: object) -> int:
    """Return about how many characters a value has."""
    match value:
        case str():
            return len(value) + 16
        case dict():
            return sum(_length(part) for part in value.values()) + 32
        case list():
            return sum(map(_length, value)) + 16
        case _:
            return 8
