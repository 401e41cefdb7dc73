"""Live events as lines of text: the model's text as it is written, one line per tool, states, and what a turn cost.

All of it is the agent's own claim, and any of it may be hostile: who prints a line escapes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from api.words import times
from meta.errors import BadInput
from meta.wire.link import TurnState
from meta.wire.live import (
    AnyItem,
    Compaction,
    LiveEvent,
    Note,
    Notice,
    StateChange,
    Stream,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolResult,
    TurnEnd,
    TurnStart,
    Usage,
    from_object,
)

BODY_LINES = 20
"""Lines of the message that begins a turn that are shown."""
FOLDED = 100
"""Characters that are shown of a tool's input, of its output, and of a thought."""
TEXT_MOST = 200_000
"""Characters of a text that are kept while it is written."""
TOOLS_MOST = 64
LAST_TIME = 1e11
QUIET = frozenset({TurnState.IDLE, TurnState.THINKING})
"""States that the beginning and the end of a turn show already."""


class Style(StrEnum):
    """What a line is, for its colour."""

    TEXT = "text"
    TURN = "turn"
    TOOL = "tool"
    STATE = "state"
    NOTE = "note"
    ERROR = "error"
    HIVE = "hive"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, without its newline. It is not escaped yet."""

    text: str
    style: Style = Style.TEXT


class View:
    """The view of one agent: `show` takes its events in order. The same events give the same lines."""

    def __init__(self) -> None:
        self.state = ""
        """The turn state that was shown last."""
        self._text = ""
        self._shown = 0
        self._tools: dict[str, str] = {}

    @property
    def live(self) -> str:
        """What is under way: the last line of the text that is written, or the tool that runs; "" if nothing is."""
        if rest := self._text[self._shown :]:
            return rest
        return f"  {next(reversed(self._tools.values()))} ..." if self._tools else ""

    def show_object(self, value: object) -> list[Line]:
        """Return the lines of an event as JSON. One that this hive does not know is a line, too."""
        try:
            return self.show(from_object(value))
        except BadInput:
            kind = value.get("kind") if isinstance(value, dict) else None
            return [Line(f"an event that this hive does not know: {_fold(str(kind))}", Style.NOTE)]

    def show(self, event: LiveEvent) -> list[Line]:
        """Return the lines of an event."""
        return list(self._lines(event))

    def break_off(self) -> list[Line]:
        """Return the lines of what is under way: no end of it will come."""
        return [*self._end_text(), *self._end_tools()]

    def _lines(self, event: LiveEvent) -> Iterator[Line]:
        if isinstance(event, Stream):
            for item in event.items:
                yield from self._item(item)
            return
        yield from self._end_text()
        match event:
            case TurnStart():
                yield from _turn_start(event)
            case TurnEnd():
                yield from self._end_tools()
                yield _turn_end(event)
            case StateChange():
                yield from self._change_state(event)
            case Note():
                yield from (Line(text, Style.NOTE) for text in _split(event.text))
            case Usage():
                yield Line(f"  {_cost(event)}", Style.TURN)
            case Compaction():
                yield Line(_compaction(event), Style.NOTE)

    def _item(self, item: AnyItem) -> Iterator[Line]:
        if isinstance(item, TextDelta):
            yield from self._write(item.text)
        elif isinstance(item, Text):
            yield from self._end_text(item.text)
        elif isinstance(item, ToolResult):
            yield from self._end_text()
            yield _tool_line(self._tools.pop(item.id, "a tool"), item)
        else:
            yield from self._end_text()
            yield from self._other(item)

    def _other(self, item: AnyItem) -> Iterator[Line]:
        match item:
            case ToolCall():
                while len(self._tools) >= TOOLS_MOST:
                    yield Line(f"  {self._tools.pop(next(iter(self._tools)))}", Style.TOOL)
                self._tools[item.id] = f"{_fold(item.name, 40)}{_input(item.input)}"
            case Thinking():
                yield Line(f"  thinks: {_fold(item.text)}", Style.TOOL)
            case Notice():
                style = Style.NOTE if item.level == "info" else Style.ERROR
                yield from (Line(text, style) for text in _split(item.text))
            case _:
                yield Line(f"  a line of the CLI that its adapter does not know: {_fold(_name(item))}", Style.NOTE)

    # the text that is being written
    def _write(self, piece: str) -> Iterator[Line]:
        """Add a piece of text. Yield the lines that it completes."""
        if len(self._text) + len(piece) > TEXT_MOST:
            yield from self._end_text()
            piece = piece[:TEXT_MOST]
        self._text += piece
        complete, end, _ = self._text[self._shown :].rpartition("\n")
        if end:
            self._shown += len(complete) + 1
            yield from map(Line, complete.split("\n"))

    def _end_text(self, whole: str | None = None) -> Iterator[Line]:
        """Yield the rest of the text that was written. `whole` is that text, or another one that follows it."""
        written, shown = self._text, self._shown
        self._text, self._shown = "", 0
        if whole is not None and written and whole.startswith(written):
            written, whole = whole, None
        if rest := written[shown:].removesuffix("\n"):
            yield from map(Line, rest.split("\n"))
        if whole:
            yield from map(Line, _split(whole))

    def _end_tools(self) -> Iterator[Line]:
        for tool in self._tools.values():
            yield Line(f"  {tool}: no result", Style.TOOL)
        self._tools.clear()

    def _change_state(self, event: StateChange) -> Iterator[Line]:
        self.state = str(event.state)
        if event.state in QUIET:
            return
        until = f" until {_moment(event.until)}" if event.until is not None else ""
        reason = f": {_fold(event.reason, 500)}" if event.reason else ""
        yield Line(f"-- {event.state}{until}{reason}", Style.STATE)


def _moment(at: float) -> str:
    """Return a time that the agent names. It may name any number."""
    return times.short_time(at) if 0 <= at <= LAST_TIME else "a time that is none"


def _turn_start(event: TurnStart) -> Iterator[Line]:
    others = f" ({event.unread} other{'' if event.unread == 1 else 's'} waiting)" if event.unread else ""
    yield Line(f"== turn {event.turn}, from {_fold(event.sender, 60)}{others}", Style.TURN)
    body = _split(event.body)
    yield from (Line(f"   {text}", Style.TURN) for text in body[:BODY_LINES])
    if len(body) > BODY_LINES:
        yield Line(f"   ({len(body) - BODY_LINES} more lines)", Style.TURN)


def _turn_end(event: TurnEnd) -> Line:
    ending = event.ending or ("ok" if event.ok else "failed")
    why = f": {_fold(event.note, 500)}" if event.note else ""
    return Line(f"== turn {event.turn} ended, {_fold(ending, 40)}{why}", Style.TURN if event.ok else Style.ERROR)


def _tool_line(tool: str, result: ToolResult) -> Line:
    output = result.output.strip()
    lines = output.count("\n") + 1 if output else 0
    more = f" (+{lines - 1} lines)" if lines > 1 else ""
    shown = f": {_fold(output.split(chr(10), 1)[0])}{more}" if output else ""
    if result.is_error:
        return Line(f"  {tool} failed{shown}", Style.ERROR)
    return Line(f"  {tool}{shown}", Style.TOOL)


def _input(text: str) -> str:
    """Return a tool's arguments in brackets: its first text, or all of it as JSON."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, dict):
        texts = [part for part in value.values() if isinstance(part, str) and part.strip()]
        value = texts[0] if texts else (text if value else "")
    return f"({_fold(str(value))})" if value not in ("", None) else ""


def _cost(event: Usage) -> str:
    counted = (
        (event.input_tokens, "tokens in"),
        (event.output_tokens, "out"),
        (event.cached_tokens, "cached"),
    )
    parts = [f"{event.seconds:.1f} s", *(f"{number:,} {what}" for number, what in counted if number is not None)]
    if event.cost_dollars is not None:
        parts.append(f"${event.cost_dollars:.4f}")
    return ", ".join([*parts, *([_fold(event.model, 60)] if event.model else [])])


def _compaction(event: Compaction) -> str:
    tokens = [f"{number:,}" if number is not None else "?" for number in (event.tokens_before, event.tokens_after)]
    note = f": {_fold(event.note, 500)}" if event.note else ""
    return f"-- compacted ({event.trigger}): {tokens[0]} tokens before, {tokens[1]} after{note}"


def _name(item: AnyItem) -> str:
    return getattr(item, "name", "") or "(no name)"


def _fold(text: str, most: int = FOLDED) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _split(text: str) -> list[str]:
    """Return the lines of a text as git counts them, without empty ones at its end."""
    return text.rstrip("\n").split("\n") if text.strip("\n") else []
