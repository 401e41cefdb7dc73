"""From live events to turns and items. The same events give the same transcript; nothing here does anything else.

An item has a key that stays: the position of the event that began it. What changes later (a text that grows, a call
whose result comes) is the same item with another value.
"""

from __future__ import annotations

from dataclasses import replace

from api.ui.transcript.items import Call, Item, Remark, Say, Thought, Turn
from api.ui.transcript.words import length
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

TEXT_MOST = 200_000
"""Characters of a text that are kept while it is written."""
OPEN_MOST = 64
"""Calls that wait for their result."""
ITEMS_MOST = 4_000
"""Items that are kept. Of more the oldest turns are left out."""
QUIET = frozenset({TurnState.IDLE, TurnState.THINKING, TurnState.COMPACTING, TurnState.DRAINED})
"""States that the head of the page shows, or the items themselves."""
LAST_TIME = 1e11


class Transcript:
    """The turns of one agent, oldest first. `take_changes` returns what changed since the last time."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.recut = True
        """True if turns came or went, so that single items do not tell the change."""
        self._changed: dict[str, None] = {}
        self._places: dict[str, tuple[Turn, int]] = {}
        self._calls: dict[str, str] = {}
        self._growing = ""
        self._count = 0

    def add(self, key: str, at: int, value: object) -> None:
        """Take one event: its position, its time in Unix seconds, and its JSON object."""
        try:
            event = from_object(value)
        except BadInput:
            kind = value.get("kind") if isinstance(value, dict) else None
            self._append(Remark(key, at, f"An event that this hive does not know: {str(kind)[:60]}"))
            return
        if isinstance(event, TurnStart):
            self._begin(key, at, event)
        elif isinstance(event, Stream):
            for number, item in enumerate(event.items):
                self._item(f"{key}_{number}" if number else key, at, item)
        else:
            self._other(key, at, event)

    def item(self, key: str) -> Item | None:
        """Return an item by its key."""
        place = self._places.get(key)
        return place[0].items[place[1]] if place else None

    def turn(self, key: str) -> Turn | None:
        """Return a turn by its key."""
        return next((turn for turn in self.turns if turn.key == key), None)

    def place(self, key: str) -> tuple[Turn, int] | None:
        """Return the turn of an item, and its index there."""
        return self._places.get(key)

    @property
    def has_changes(self) -> bool:
        """Return True if there are changes to take."""
        return bool(self._changed)

    def take_changes(self) -> list[str]:
        """Return the keys of the items that are new or changed since the last call, oldest first."""
        changed = list(self._changed)
        self._changed.clear()
        return changed

    def _begin(self, key: str, at: int, event: TurnStart) -> None:
        self._end_open(at)
        self.turns.append(Turn(key, at, event.turn, event.sender, event.body, event.unread))
        self.recut = True
        while self._count > ITEMS_MOST and len(self.turns) > 1:
            for item in self.turns[0].items:
                self._places.pop(item.key, None)
            self._count -= len(self.turns.pop(0).items)

    def _item(self, key: str, at: int, item: AnyItem) -> None:
        match item:
            case TextDelta():
                self._write(key, at, item.text)
            case Text():
                self._say(key, at, item.text)
            case ToolCall():
                self._append(Call(key, at, item.name, item.input))
                self._calls[item.id] = key
                while len(self._calls) > OPEN_MOST:
                    del self._calls[next(iter(self._calls))]
            case ToolResult():
                self._result(key, at, item)
            case Thinking():
                if item.text.strip():
                    self._append(Thought(key, at, item.text))
            case Notice():
                self._append(Remark(key, at, item.text, {"error": "bad", "warn": "warn"}.get(item.level, "note")))
            case _:
                name = getattr(item, "name", "") or "without a name"
                self._append(Remark(key, at, f"A line of the CLI that its adapter does not know: {name}"))

    def _other(self, key: str, at: int, event: LiveEvent) -> None:
        match event:
            case TurnEnd():
                self._end_open(at)
                self._end_turn(key, at, event)
            case Usage():
                self._charge(event)
            case Note():
                self._append(Remark(key, at, event.text))
            case Compaction():
                self._append(Remark(key, at, _compaction(event)))
            case StateChange() if event.state not in QUIET:
                until = event.until if event.until is not None and 0 <= event.until <= LAST_TIME else None
                words = f"{str(event.state).capitalize()}{f': {event.reason}' if event.reason else ''}"
                self._append(Remark(key, at, words, "warn", until))

    # items of the last turn
    def _append(self, item: Item) -> None:
        if not self.turns:
            self.turns.append(Turn("", item.at))
        turn = self.turns[-1]
        self._places[item.key] = (turn, len(turn.items))
        turn.items.append(item)
        self._changed[item.key] = None
        self._count += 1

    def _change(self, item: Item) -> None:
        turn, index = self._places[item.key]
        turn.items[index] = item
        self._changed[item.key] = None

    def _write(self, key: str, at: int, piece: str) -> None:
        """Add a piece of a text that is being written."""
        item = self.item(self._growing)
        if isinstance(item, Say):
            self._change(replace(item, text=(item.text + piece)[:TEXT_MOST]))
            return
        self._append(Say(key, at, piece[:TEXT_MOST], growing=True))
        self._growing = key

    def _say(self, key: str, at: int, text: str) -> None:
        """Add a whole text: that whose pieces came since the one before, or one that came without pieces."""
        item = self.item(self._growing)
        if isinstance(item, Say) and text.strip():
            self._growing = ""
            self._change(replace(item, text=text, growing=False))
            return
        self._end_text()
        if text.strip():
            self._append(Say(key, at, text))

    def _end_text(self) -> None:
        item = self.item(self._growing)
        self._growing = ""
        if isinstance(item, Say):
            self._change(replace(item, growing=False))

    def _result(self, key: str, at: int, result: ToolResult) -> None:
        call = self.item(self._calls.pop(result.id, ""))
        if isinstance(call, Call):
            self._change(replace(call, output=result.output, failed=result.is_error, ended_at=at, lost=False))
        else:
            self._append(Call(key, at, "A tool", "", result.output, result.is_error, at))

    def _end_open(self, at: int) -> None:
        """End what is under way: no end of it will come."""
        self._end_text()
        for key in self._calls.values():
            if isinstance(call := self.item(key), Call):
                self._change(replace(call, lost=True))
        self._calls.clear()

    # the last turn itself
    def _end_turn(self, key: str, at: int, event: TurnEnd) -> None:
        if not self.turns:
            self.turns.append(Turn("", at))
        turn = self.turns[-1]
        turn.ended_at, turn.ok, turn.ending = at, event.ok, event.ending or ("ok" if event.ok else "failed")
        first = "Ended" if event.ok else f"Failed ({turn.ending})"
        words = f"{first} after {length(turn)}{f': {event.note}' if event.note else ''}"
        self._append(Remark(key, at, words, "note" if event.ok else "bad"))

    def _charge(self, event: Usage) -> None:
        if self.turns:
            turn = self.turns[-1]
            counts = [count for count in (event.input_tokens, event.output_tokens) if count is not None]
            turn.seconds, turn.cost = event.seconds, event.cost_dollars
            turn.tokens = sum(counts) if counts else None


def _compaction(event: Compaction) -> str:
    tokens = [f"{number:,}" if number is not None else "?" for number in (event.tokens_before, event.tokens_after)]
    note = f": {event.note}" if event.note else ""
    return f"Context compacted ({event.trigger}), {tokens[0]} → {tokens[1]} tokens{note}"
