"""The text of a live event as the log and the link carry it: JSON that always encodes, of at most EVENT_BYTES."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from harness.runtimes.json_line import MAX_DEPTH, check_shape
from meta.wire.live import TAKEN, AnyItem, LiveEvent, Note, Stream, to_object

EVENT_BYTES = 64 * 1024
"""The longest text of an event. A longer one is cut and marked with `cut`: the bytes that it had."""

DEPTH = MAX_DEPTH
"""How deep an event is nested at most: hive's parser has a limit."""
_CUTS = ((16_384, 500), (4_096, 100), (1_024, 30), (128, 10))
"""Characters of a text and members of a list or object that stay, tried one after the other."""
_INTEGERS = 2**63
_SURROGATES = re.compile("[\ud800-\udfff]")


def encode_bounded(event: LiveEvent) -> str:
    """Return the event as one line of JSON. One that cannot be encoded becomes a note that says so."""
    return _encode_bounded(event, None)


def _encode_bounded(event: LiveEvent, size: int | None) -> str:
    """Encode an event. `size`: the bytes that it has, if they are known and too many."""
    try:
        value = to_object(event)
        return _encode(value) if size is None else _cut(value, size)
    except Exception as error:  # noqa: BLE001 - the harness must not end because of what a CLI prints
        return _note(f"an event of the kind {event.kind} cannot be recorded: {type(error).__name__}")


def encode_line(items: Sequence[AnyItem], line: object) -> str:
    """Return the event of one line of the CLI as `encode_bounded` does, but fast: nearly all events are such lines."""
    data = _encode_ordinary(items, line)
    if data is not None and len(data) <= EVENT_BYTES:
        return data.decode()
    event = Stream.model_construct(items=tuple(items), line=line)
    return _encode_bounded(event, None if data is None else len(data))


def _encode_ordinary(items: Sequence[AnyItem], line: object) -> bytes | None:
    """Return the event, which may be too long; None if only the slower way can encode it."""
    if line is not None and (not isinstance(line, dict) or not TAKEN.isdisjoint(line)):
        return None
    shown = {"value": None} if line is None else line
    try:
        data = to_json({"kind": "stream", **shown, "items": items}, inf_nan_mode="null")
        check_shape(data)
    except (ValueError, RecursionError):  # what is no JSON, or nested too deep
        return None
    return data


def is_plain(text: str) -> bool:
    """Return True if the text of an event is short, and surely not nested too deep and without half characters."""
    return len(text) <= EVENT_BYTES // 4 and text.count("[") + text.count("{") <= DEPTH and "\\ud" not in text


def _encode(value: dict[str, Any]) -> str:
    try:
        text = _dump(value)
        if text.count("[") + text.count("{") > DEPTH and _is_deep(value, DEPTH):
            text = _dump(_shorten(value, EVENT_BYTES, EVENT_BYTES))
    except (ValueError, RecursionError):  # a number that JSON does not have, or nested without end
        text = _dump(_shorten(value, EVENT_BYTES, EVENT_BYTES))
    size = _size(text)
    return text if size <= EVENT_BYTES else _cut(value, size)


def _cut(value: dict[str, Any], size: int) -> str:
    """Return an event that is too long with shorter texts and lists. `size`: the bytes that it has."""
    for characters, members in _CUTS:
        shorter = _shorten(value, characters, members)
        text = _dump({**shorter, "cut": size})
        if _size(text) <= EVENT_BYTES:
            return text
    return _note(f"an event of {size} bytes is too large to be recorded")


def _dump(value: dict[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        _size(text)
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)
    return text


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _is_deep(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list | tuple):
        return False
    return depth == 0 or any(
        _is_deep(part, depth - 1) for part in (value.values() if isinstance(value, dict) else value)
    )


def _shorten(value: Any, characters: int, members: int, depth: int = DEPTH) -> Any:
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]}... ({len(value)} characters)"
    if isinstance(value, dict | list | tuple) and depth == 0:
        return "..."
    if isinstance(value, dict):
        kept = list(value.items())[:members]
        return {key[:characters]: _shorten(part, characters, members, depth - 1) for key, part in kept}
    if isinstance(value, list | tuple):
        return [_shorten(part, characters, members, depth - 1) for part in value[:members]]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) > _INTEGERS:
        return None
    return value


def _note(text: str) -> str:
    return json.dumps(to_object(Note(text=text)), separators=(",", ":"))
