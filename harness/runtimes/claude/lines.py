"""What a line of `claude --output-format stream-json` means. Pure; no line raises an error or is lost.

The keys come in any order, and new types come with each version of the CLI: what is not known stays as it came.
"""

from __future__ import annotations

from typing import NamedTuple

from harness.asides import Aside
from harness.runtimes.claude.facts import Fact
from harness.runtimes.claude.readers import READERS
from harness.runtimes.claude.values import Object, Parts, as_object, as_word
from harness.runtimes.json_line import parse
from meta.wire.live import AnyItem, Unknown


class Parsed(NamedTuple):
    """A line: itself as a JSON value, or as text if it is not JSON; what it shows; what it says of the turn.

    `asides` are for those who watch the turn now. `repeated`: the `assistant` or `result` line that follows has all
    that it says.
    """

    line: object
    items: tuple[AnyItem, ...] = ()
    facts: tuple[Fact, ...] = ()
    repeated: bool = False
    asides: tuple[Aside, ...] = ()


def parse_line(data: bytes, dropped: int = 0) -> Parsed:
    """Return the meaning of a line. `dropped` counts the bytes that were cut off at its end."""
    if dropped:
        size = len(data) + dropped
        return Parsed(f"{data.decode('utf-8', 'replace')}[...]", (Unknown(name=f"a line of {size} bytes"),))
    try:
        value = parse(data)
    except ValueError:
        return Parsed(data.decode("utf-8", "replace"), (Unknown(name="not JSON"),))
    if not isinstance(value, dict):
        return Parsed(value, (Unknown(name="not an object"),))
    kind = value.get("type")
    read = READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        return Parsed(value, (Unknown(name=as_word(kind)),))
    items, facts, asides = _sort(read(value))
    return Parsed(value, items, facts, kind == "stream_event" and _is_repeated(value), asides)


def _sort(parts: Parts) -> tuple[tuple[AnyItem, ...], tuple[Fact, ...], tuple[Aside, ...]]:
    items: list[AnyItem] = []
    facts: list[Fact] = []
    asides: list[Aside] = []
    for part in parts:
        if isinstance(part, Fact):  # quicker than a look at the items, which are models
            facts.append(part)
        elif isinstance(part, Aside):
            asides.append(part)
        else:
            items.append(part)
    return tuple(items), tuple(facts), tuple(asides)


_REPEATED = frozenset(
    [
        *("message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop", "ping"),
        *("text_delta", "thinking_delta", "input_json_delta", "signature_delta", "citations_delta"),
    ]
)
"""Events and deltas of a message that a line with the whole follows."""


def _is_repeated(line: Object) -> bool:
    event = as_object(line.get("event"))
    kind = as_word(event.get("type"))
    return (as_word(as_object(event.get("delta")).get("type")) if kind == "content_block_delta" else kind) in _REPEATED
