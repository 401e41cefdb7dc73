"""The bounds of a CLI's line of JSON, which is untrusted. Pure. Looking takes time in proportion to the line."""

from __future__ import annotations

import re

MAX_DEPTH = 100
"""Levels of nesting of a line that is kept as JSON. A deeper one is kept as text."""

MAX_VALUES = 100_000
"""Texts, and brackets and commas outside of them, of a line that is kept as JSON: more would hold up the event loop."""

# without possessive groups, which Python 3.11.2 gets wrong; each step is decided by the next byte, and the end matches
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_OTHERS = bytes(sorted(set(range(256)) - set(b"[]{},")))


def check_shape(data: bytes) -> None:
    """Raise ValueError if a line is nested too deeply, or has too many values."""
    if data.count(b"[") + data.count(b"{") + data.count(b",") <= MAX_DEPTH:
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
