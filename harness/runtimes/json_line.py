"""A CLI's line of JSON, which is untrusted: its bounds and its value. Pure. It takes time in proportion to the line."""

from __future__ import annotations

import json
import re

from pydantic_core import from_json

MAX_DEPTH = 100
"""Levels of nesting of a line that is kept as JSON. A deeper one is kept as text."""

MAX_VALUES = 100_000
"""Texts, and brackets and commas outside of them, of a line that is kept as JSON: more would hold up the event loop."""

# without possessive groups, which Python 3.11.2 gets wrong; each step is decided by the next byte, and the end matches
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_OTHERS = bytes(sorted(set(range(256)) - set(b"[]{},")))
_HALVES = re.compile("[\ud800-\udfff]")


def parse(data: bytes) -> object:
    """Return the value of a line. It can be written as UTF-8 again. Raise ValueError if the line is no JSON.

    What UTF-8 cannot express is replaced by U+FFFD: bytes that are none, and halves of surrogate pairs. A number that
    is too large for a float is infinite.
    """
    check_shape(data)
    try:
        return from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        if data.isascii() and b"\\u" not in data:
            raise
    text = json.dumps(_DECODER.decode(data.decode("utf-8", "replace")), ensure_ascii=False)
    return json.loads(_HALVES.sub("\ufffd", text))


def check_shape(data: bytes) -> None:
    """Raise ValueError if a line is nested too deeply, or has too many values."""
    if len(data) <= MAX_VALUES and data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    rest, texts = _TEXTS.subn(b"", data, MAX_VALUES + 1)
    marks = rest.translate(None, _OTHERS)
    if texts > MAX_VALUES or len(marks) > MAX_VALUES:
        raise ValueError("too many values")
    depth = 0
    for mark in marks.replace(b",", b""):
        depth += 1 if mark in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError("too deep")


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
