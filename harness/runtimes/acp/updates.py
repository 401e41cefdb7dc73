"""What the updates of a turn mean: `session/update` to the items of meta.wire.live. Pure; no update raises an error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from harness.runtimes.acp.rules import Failure, look_up
from harness.runtimes.acp.table import Preset
from meta.wire.live import AnyItem, Notice, Text, TextDelta, Thinking, ToolCall, ToolResult, Unknown

Json = dict[str, Any]

TEXT_LIMIT = 2**20
"""Characters of a whole text that are kept. Its pieces were shown before."""

_ARGUMENT_LIMIT = 64 * 1024
_NAME_LIMIT = 64
_TOOLS = 10_000
_ENDED = frozenset({"completed", "failed"})


@dataclass(slots=True)
class _Tool:
    name: str
    shown: bool = False
    ended: bool = False


class Reader:
    """Reads the updates of one turn. `progress` counts those that show the model or a tool at work."""

    def __init__(self, preset: Preset) -> None:
        self.progress = 0
        self.piece = False
        """The last update was a piece of a text, whose whole follows."""
        self.failure: Failure | None = None
        self.notice = ""
        """The last sentence of the CLI: the reason, if the turn fails without one."""
        self.context: int | None = None
        self.window: int | None = None
        self.cost: float | None = None
        self._preset = preset
        self._tools: dict[str, _Tool] = {}
        self._text = _Whole()
        self._thought = _Whole()

    @property
    def running(self) -> int:
        """Return the number of tools that began and did not end."""
        return sum(tool.shown and not tool.ended for tool in self._tools.values())

    def read(self, update: object) -> list[AnyItem]:
        """Return what an update means. An unknown kind is one item, `Unknown`."""
        self.piece = False
        name = update.get("sessionUpdate") if isinstance(update, dict) else None
        if not isinstance(update, dict) or not isinstance(name, str):
            return [Unknown(name="update")]
        read = _KINDS.get(name)
        return [Unknown(name=name[:_NAME_LIMIT])] if read is None else read(self, update)

    def ask(self, call: object) -> list[AnyItem]:
        """Return what the tool in a request for permission means: some agents show it nowhere else."""
        return self._tool({**call, "status": "in_progress"}) if isinstance(call, dict) else []

    def flush(self) -> list[AnyItem]:
        """Return the texts whose pieces came, as wholes. To be called at the end of the turn."""
        thought, text = self._thought.take(), self._text.take()
        return [*([Thinking(text=thought)] if thought else []), *([Text(text=text)] if text else [])]

    def _chunk(self, update: Json) -> list[AnyItem]:
        text, identity = text_of(update.get("content")), update.get("messageId")
        if text is None:
            return [Unknown(name="agent_message_chunk")]
        pattern = self._preset.not_model
        if (self._preset.text_has_id and identity is None) or (pattern and re.fullmatch(pattern, text.strip())):
            self.notice = text.strip()
            return [Notice(level="warn", text=self.notice)]
        before = self.flush() if self._thought or self._text.other(identity) else []
        self._text.add(text, identity)
        self.progress += 1
        self.piece = True
        return [*before, TextDelta(text=text)]

    def _think(self, update: Json) -> list[AnyItem]:
        text, identity = text_of(update.get("content")), update.get("messageId")
        if text is None:
            return [Unknown(name="agent_thought_chunk")]
        before = self.flush() if self._text or self._thought.other(identity) else []
        self._thought.add(text, identity)
        self.progress += 1
        self.piece = True
        return before

    def _tool(self, update: Json) -> list[AnyItem]:
        identity, status = update.get("toolCallId"), update.get("status")
        if not isinstance(identity, str):
            return [Unknown(name="tool call without id")]
        tool = self._tools.get(identity)
        if tool is None:
            if len(self._tools) >= _TOOLS:
                return [Unknown(name="too many tool calls")]
            tool = self._tools[identity] = _Tool(self._name(identity, update))
        items: list[AnyItem] = []
        self.progress += 1
        # A pending call has no arguments yet; showing it now would show it without them.
        if not tool.shown and (
            status != "pending" or (update["sessionUpdate"] == "tool_call_update" and _input(update))
        ):
            tool.shown = True
            items = [*self.flush(), ToolCall(id=identity, name=tool.name, input=_input(update, tool.name))]
        if status in _ENDED and not tool.ended:
            tool.ended = True
            items.append(ToolResult(id=identity, output=_output(update), is_error=status == "failed"))
        return items

    def _name(self, identity: str, update: Json) -> str:
        pattern = self._preset.tool_in_id
        match = re.match(pattern, identity) if pattern else None
        for name in (update.get("name"), match and match.group(1), update.get("title"), update.get("kind")):
            if isinstance(name, str) and 0 < len(name) <= _NAME_LIMIT and not re.search(r"\s", name):
                return name
        return "tool"

    def _plan(self, update: Json) -> list[AnyItem]:
        entries = update.get("entries")
        lines = [str(entry.get("content", ""))[:200] for entry in entries or () if isinstance(entry, dict)]
        self.progress += 1
        return [Notice(text="plan: " + "; ".join(lines[:20]))] if lines else []

    def _usage(self, update: Json) -> list[AnyItem]:
        used, size, cost = update.get("used"), update.get("size"), look_up(update, ("cost", "amount"))
        self.context = used if type(used) is int and used >= 0 else self.context
        self.window = size if type(size) is int and size > 0 else self.window
        self.cost = float(cost) if type(cost) in (int, float) and 0 <= cost < 1e12 else self.cost
        return []

    def _about(self, update: Json) -> list[AnyItem]:
        self.failure = typed_failure(self._preset, update) or self.failure
        for path in self._preset.notices:
            text = look_up(update, path)
            if isinstance(text, str) and text:
                self.notice = text[:_ARGUMENT_LIMIT]
                return [Notice(level="warn", text=self.notice)]
        return []

    def _nothing(self, update: Json) -> list[AnyItem]:
        return []


class _Whole:
    """A text that comes in pieces."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._identity: object = None

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def other(self, identity: object) -> bool:
        """Return True if a piece with this messageId begins another text."""
        return bool(self._pieces) and identity != self._identity

    def add(self, text: str, identity: object) -> None:
        """Add a piece, as long as there is room."""
        self._identity = identity
        if self._length < TEXT_LIMIT:
            self._pieces.append(text[: TEXT_LIMIT - self._length])
            self._length += len(text)

    def take(self) -> str:
        """Return the text and begin another."""
        text = "".join(self._pieces)
        self._pieces, self._length, self._identity = [], 0, None
        return text


_KINDS: Mapping[str, Callable[[Reader, Json], list[AnyItem]]] = MappingProxyType(
    {
        "agent_message_chunk": Reader._chunk,
        "agent_thought_chunk": Reader._think,
        "tool_call": Reader._tool,
        "tool_call_update": Reader._tool,
        "plan": Reader._plan,
        "usage_update": Reader._usage,
        "session_info_update": Reader._about,
        "user_message_chunk": Reader._nothing,
        "available_commands_update": Reader._nothing,
        "current_mode_update": Reader._nothing,
        "config_option_update": Reader._nothing,
    }
)


def typed_failure(preset: Preset, value: object) -> Failure | None:
    """Return the failure in an update or an answer, with its category and what may be done about it as kind."""
    found = look_up(value, preset.failure) if preset.failure else None
    if not isinstance(found, dict) or found.get("severity") == "warning":  # it goes on by itself
        return None
    actions = found.get("actions")
    words = ",".join(str(action) for action in actions) if isinstance(actions, list) else ""
    return Failure(str(found.get("title", "")), kind=f"{found.get('category', '')}:{words}")


def text_of(content: object) -> str | None:
    """Return the text in a content block; what is no text is named. None: it is no content block."""
    kind = content.get("type") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(kind, str):
        return None
    text = content.get("text")
    return text if isinstance(text, str) else None if kind == "text" else f"[{kind[:_NAME_LIMIT]}]"


def _input(update: Json, name: str = "") -> str:
    """Return the arguments; the title if they are not shown and it says more than the tool's name."""
    value, title = update.get("rawInput"), update.get("title")
    if value:
        return json.dumps(value, ensure_ascii=False)[:_ARGUMENT_LIMIT]
    return title[:_ARGUMENT_LIMIT] if name and isinstance(title, str) and title != name else ""


def _output(update: Json) -> str:
    parts = update.get("content")
    texts = (
        [text_of(part.get("content")) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    )
    text = "\n".join(filter(None, texts))
    raw = update.get("rawOutput")
    if text or raw is None:
        return text[:_ARGUMENT_LIMIT]
    return (raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False))[:_ARGUMENT_LIMIT]
