"""The live events of an agent: what happens in its turns, as the harness records and hive shows it.

The kinds `turn_start`, `stream`, `note` and `turn_end` and their encoding are those of seed 003
(003_fe4466ef9b603b85.txt); `state`, `usage` and `compaction` are hive's own. An event is a JSON object with its kind in
`kind`.

The seed tags `Note(String)` and `Stream(Value)` in a way that only encodes objects. Here a note has its text in `text`.
A stream line that is an object is flattened beside `kind`, as the seed does it; any other line, and an object with a
key that is taken, is in `value`. Beside it `items` says in the same words for every runtime what the line means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from meta.errors import BadInput
from meta.wire.link import TurnState


class _Part(BaseModel):
    # built at the first use: a harness says hello before its first event
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, defer_build=True)


class TextDelta(_Part):
    """A piece of the model's text while it is written. The whole text follows as `text`."""

    type: Literal["text_delta"] = "text_delta"
    text: str


class Text(_Part):
    """A whole text of the model."""

    type: Literal["text"] = "text"
    text: str


class Thinking(_Part):
    """A thought of the model."""

    type: Literal["thinking"] = "thinking"
    text: str


class ToolCall(_Part):
    """A tool begins. `input` is its arguments as JSON text, "" if the runtime does not show them."""

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    input: str = ""


class ToolResult(_Part):
    """A tool ended."""

    type: Literal["tool_result"] = "tool_result"
    id: str
    output: str = ""
    is_error: bool = False


class Notice(_Part):
    """A sentence of the CLI itself, not of the model: a retry, a warning, a server that failed."""

    type: Literal["notice"] = "notice"
    level: Literal["info", "warn", "error"] = "info"
    text: str


class Unknown(_Part):
    """A line that the adapter does not know. It is kept and shown as it came."""

    type: Literal["unknown"] = "unknown"
    name: str = ""


AnyItem = TextDelta | Text | Thinking | ToolCall | ToolResult | Notice | Unknown
Item = Annotated[AnyItem, Field(discriminator="type")]


class TurnStart(_Part):
    """A turn begins. `unread` counts the other messages that wait. `turn` is its number since the harness started."""

    kind: Literal["turn_start"] = "turn_start"
    sender: Annotated[str, Field(alias="from")]
    body: str
    unread: int
    turn: int = 0


class Stream(_Part):
    """One line of the CLI, and what it means. `line` is any JSON value."""

    kind: Literal["stream"] = "stream"
    items: tuple[Item, ...] = ()
    line: Any = None


class Note(_Part):
    """A sentence of the harness."""

    kind: Literal["note"] = "note"
    text: str


class TurnEnd(_Part):
    """A turn ended. `ending` is one of harness.runtimes.base.Ending; older logs have none."""

    kind: Literal["turn_end"] = "turn_end"
    ok: bool
    note: str | None = None
    ending: str | None = None
    turn: int = 0


class StateChange(_Part):
    """The turn state changed. `since` and `until` are Unix seconds; `until` is when the harness goes on by itself."""

    kind: Literal["state"] = "state"
    state: Annotated[TurnState, Field(strict=False)]
    since: float
    until: float | None = None
    reason: str = ""


class Usage(_Part):
    """What a turn cost, as the agent's runtime claims. `None`: the runtime does not report it.

    `source` is the sender of the message that began the turn; `tools` counts the calls by the tool's name.
    `unknown_lines` counts the lines of the CLI since the usage before that the harness does not know, and
    `unreadable_rows` the rows of its event log that it found to be no events.
    """

    kind: Literal["usage"] = "usage"
    turn: int = 0
    runtime: str
    model: str = ""
    source: str = ""
    seconds: float
    ending: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_dollars: float | None = None
    tools: dict[str, int] = Field(default_factory=dict)
    unknown_lines: int = 0
    unreadable_rows: int = 0


class Compaction(_Part):
    """The conversation was compacted. Tokens are of the context before and after; None: not reported."""

    kind: Literal["compaction"] = "compaction"
    trigger: Literal["overflow", "watermark", "operator", "runtime"]
    tokens_before: int | None = None
    tokens_after: int | None = None
    note: str = ""


LiveEvent = TurnStart | Stream | Note | TurnEnd | StateChange | Usage | Compaction
_EVENT: TypeAdapter[LiveEvent] = TypeAdapter(
    Annotated[LiveEvent, Field(discriminator="kind")], config=ConfigDict(defer_build=True)
)
TAKEN = frozenset({"kind", "items", "value"})
"""Keys of a stream event that are not those of the line."""


def to_object(event: LiveEvent) -> dict[str, Any]:
    """Return the JSON object of an event."""
    if not isinstance(event, Stream):
        return event.model_dump(mode="json", by_alias=True)
    items = [item.model_dump(mode="json") for item in event.items]
    if isinstance(event.line, dict) and not TAKEN & event.line.keys():
        return {"kind": "stream", **event.line, "items": items}
    return {"kind": "stream", "value": event.line, "items": items}


def is_passing(value: Mapping[str, Any]) -> bool:
    """Return True for the object of an event that is shown live and kept by nobody: pieces of a text.

    The whole text follows in an event that is kept.
    """
    if value.get("kind") != "stream":
        return False
    items = value.get("items")
    return isinstance(items, list) and bool(items) and all(_is_piece(item) for item in items)


def _is_piece(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") == "text_delta"


def from_object(value: object) -> LiveEvent:
    """Return the event of a JSON object. Raise BadInput if it is none."""
    if isinstance(value, dict) and value.get("kind") == "stream":
        rest = {key: part for key, part in value.items() if key not in TAKEN}
        value = {"kind": "stream", "items": value.get("items", ()), "line": value.get("value", rest)}
    try:
        return _EVENT.validate_python(value)
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
        raise BadInput(f"not a live event: {why}", "another hive may have written it") from error


def decode_event(text: str | bytes) -> LiveEvent:
    """Return the event in JSON text. Raise BadInput if it is none."""
    try:
        return from_object(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise BadInput("not a live event: not JSON", "another hive may have written it") from error
