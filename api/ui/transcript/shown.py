"""What of a transcript is shown, and how: bounded, with the rest behind folds that load when they are opened. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from api.ui.diff.view import FileView, file_view
from api.ui.transcript.items import Call, Item, Remark, Say, Thought, Turn
from api.ui.transcript.tools import COMPARED, NAME_MOST, PARSE_MOST, Outcome, argument, arguments, edits, line, outcome
from api.ui.transcript.words import SHOWN, Block, beginning, blocks, summary
from api.words.messages import readable
from meta.names import SYSTEM
from meta.text import show_invisible

WINDOW = 120
"""Items of the last turn that are shown; those before them are a fold."""
TURNS = 12
"""Turns before the last one that have a line; those before them are a fold."""
OPEN_CHARACTERS = 40_000
"""Characters of the open calls of one answer. Older ones are folded then."""
EDIT_LINES = 80
"""Changed lines up to which an edit is open."""
TAIL = 3_000
"""Characters of an output that stand on the page: its end, where errors stand."""
WHOLE = 100_000
"""Characters of a text that is loaded."""
MESSAGE_MOST = 2_000
SHORT = 400
"""Characters of a text that are shown once there is no more room."""
SHORT_BLOCKS = 4
SHORT_RUNS = 20
RUN = 30
BLOCK = 60
LINE = 120
CALL = 300
"""The weight of the markup of a run, of a block, of a changed line and of a call, in characters."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A text, of which `left_out` characters are missing: at its beginning if `tail`, else at its end."""

    text: str
    left_out: int = 0
    tail: bool = False


@dataclass(frozen=True, slots=True)
class SayView:
    """What was said. `more` characters load when they are asked for."""

    key: str
    at: int
    blocks: tuple[Block, ...]
    growing: bool
    more: int
    kind: str = "say"


@dataclass(frozen=True, slots=True)
class Body:
    """What is inside of a call: the change, or the arguments and the output."""

    given: Cut
    output: Cut
    files: tuple[FileView, ...] = ()


@dataclass(frozen=True, slots=True)
class CallView:
    """A call in a line. Without a `body` that loads when the call is opened."""

    key: str
    at: int
    name: str
    argument: str
    outcome: Outcome
    runs: bool
    open: bool
    body: Body | None
    kind: str = "call"


@dataclass(frozen=True, slots=True)
class RemarkView:
    """A sentence. `tone` is note, warn or bad."""

    key: str
    at: int
    text: str
    tone: str
    until: float | None
    kind: str = "remark"


ItemView = SayView | CallView | RemarkView
ViewOf = Callable[[Item, bool], ItemView]


@dataclass(frozen=True, slots=True)
class Line:
    """A turn that is folded: its sentence. Its items load when it is opened."""

    key: str
    words: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the items of one turn, from `first` on; those before it are folded."""

    turn: str
    first: int
    items: tuple[ItemView, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """The message that began a turn."""

    key: str
    at: int
    sender: str
    body: Cut
    unread: int


@dataclass(frozen=True, slots=True)
class Scene:
    """What the page shows: lines of turns, and the last turn. `earlier` turns are folded before all."""

    number: int
    earlier: int
    lines: tuple[Line, ...]
    message: Message | None
    part: Part


def scene(turns: Sequence[Turn], first: int, view: ViewOf | None = None) -> Scene:
    """Return what is shown of the turns. `first` is the index of the last turn's first item that is shown.

    `view` makes the view of an item, if that is not `item_view`.
    """
    if not turns:
        return Scene(0, 0, (), None, Part("", 0, ()))
    last, older = turns[-1], turns[:-1]
    return Scene(
        number=last.number,
        earlier=max(0, len(older) - TURNS),
        lines=lines(older[-TURNS:]),
        message=message(last) if last.key else None,
        part=part(last, first, len(last.items), view),
    )


def lines(turns: Sequence[Turn]) -> tuple[Line, ...]:
    """Return the lines of turns that are folded."""
    return tuple(Line(turn.key, summary(turn), turn.ok) for turn in turns)


def message(turn: Turn, most: int = MESSAGE_MOST) -> Message:
    """Return the message that began a turn. One of hive itself is a sentence."""
    text, left_out = beginning(readable(turn.sender, turn.body), most)
    sender = "hive" if turn.sender == SYSTEM else line(turn.sender, NAME_MOST)
    return Message(turn.key, turn.at, sender, Cut(show_invisible(text), left_out), turn.unread)


def part(turn: Turn, first: int, end: int, view: ViewOf | None = None) -> Part:
    """Return the items of a turn from `first` to before `end`."""
    shown: list[ItemView] = []
    room = OPEN_CHARACTERS
    for item in reversed(turn.items[first:end]):
        one = (view or item_view)(item, room > 0)
        room -= _weight(one)
        shown.append(one)
    return Part(turn.key, first, tuple(reversed(shown)))


def item_view(item: Item, inline: bool = True) -> ItemView:
    """Return how an item is shown. `inline`: what is open is there at once."""
    match item:
        case Say():
            text, more = beginning(item.text, SHOWN if inline else SHORT)
            shown, left_out = blocks(text) if inline else blocks(text, SHORT_BLOCKS, SHORT_RUNS)
            return SayView(item.key, item.at, shown, item.growing, 0 if item.growing else more + left_out)
        case Remark():
            return RemarkView(item.key, item.at, line(item.text, 600), item.kind, item.until)
        case Thought():
            words = line(item.text, 160)
            return CallView(item.key, item.at, "Thinks", words, Outcome(""), runs=False, open=False, body=None)
        case Call():
            return _call(item, inline)


def _call(call: Call, inline: bool) -> CallView:
    runs = call.ended_at is None and not call.lost
    changed = sum(each.added + each.removed for each in edits(call))
    open_ = inline and (call.failed or 0 < changed <= EDIT_LINES)
    body = call_body(call, TAIL) if open_ or (inline and runs and changed <= EDIT_LINES) else None
    name = line(call.name, NAME_MOST) or "A tool"
    return CallView(call.key, call.at, name, argument(call), outcome(call), runs, open_, body)


def call_body(call: Call, most: int = WHOLE) -> Body:
    """Return the inside of a call. Of a longer output the end is shown."""
    files = tuple(
        file_view(each, f"d-{call.key}-{number}")
        for number, each in enumerate(edits(call, COMPARED if most < WHOLE else PARSE_MOST))
        if each.hunks
    )
    given = _given(call)
    output = call.output.rstrip("\n")
    return Body(
        given=Cut("") if files or given == argument(call) else _cut(given, most),
        output=Cut("") if files else Cut(show_invisible(output[-most:]), max(0, len(output) - most), tail=True),
        files=files,
    )


def text_body(text: str) -> Cut:
    """Return a text to be loaded whole."""
    return _cut(text, WHOLE)


def _cut(text: str, most: int) -> Cut:
    kept, left_out = beginning(text, most)
    return Cut(show_invisible(kept), left_out)


def _given(call: Call) -> str:
    """Return the arguments as lines: a single text as it is, else JSON."""
    given = arguments(call)
    if not given:
        return "" if call.arguments == "{}" else call.arguments
    texts = [value for value in given.values() if isinstance(value, str)]
    if len(given) == len(texts) == 1:
        return texts[0]
    return "\n".join(_pairs(given))


def _pairs(given: Mapping[str, object]) -> Iterator[str]:
    for key, value in given.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"{key}:\n{text}" if "\n" in text else f"{key}: {text}"


def _weight(view: ItemView) -> int:
    """Return about how many characters the markup of an item has."""
    match view:
        case SayView():
            return sum(BLOCK + sum(RUN + len(run.text) for run in block.runs) for block in view.blocks)
        case RemarkView():
            return CALL + len(view.text)
        case CallView():
            return CALL + (len(view.argument) if view.body is None else _inside(view.body))


def _inside(body: Body) -> int:
    changed = sum(file.added + file.removed + 6 for file in body.files)
    return len(body.given.text) + len(body.output.text) + LINE * changed
