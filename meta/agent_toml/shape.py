"""Bounds on the shape of a TOML text, checked before a parser sees it. Pure, and linear in the length of the text.

The parser's time and memory grow faster than some texts: with the square of a key's parts, with keys times the depth of
their table. Within these bounds both are linear.
"""

from __future__ import annotations

import re

from meta.errors import BadInput

MAX_BYTES = 262_144
MAX_LINE_BYTES = 65_536
MAX_KEY_PARTS = 8
"""Parts of a dotted key; the deepest setting, `mcp_servers.NAME.env.KEY`, has four."""

MAX_DEPTH = 16
"""Arrays and inline tables within each other."""

MAX_KEYS = 2048
"""Keys, headers of tables and arrays in one file."""

MAX_ITEMS = 8192
"""Items of all arrays and inline tables together."""

MAX_WORD_BYTES = 256
"""Bytes of a number, date or key without quotes."""

_STRING = re.compile(
    rb'"""[^\\"]*+(?:(?:\\.|"{1,2}(?!"))[^\\"]*+)*"{3,5}'
    rb"|'''[^']*+(?:'{1,2}(?!')[^']*+)*'{3,5}"
    rb'|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*"|' + rb"'[^'\n]*+'"
    rb"|\#[^\n]*+"
    rb"|(?P<open>[\"'])",
    re.DOTALL,
)
"""A string, a comment, or a quote that opens a string without an end. What it repeats can match in one way only, so
going back is linear. Groups are not possessive: `re` of Python 3.11.2 (Debian 12) then misses matches."""

_BRACKET = re.compile(rb"[\[\]{}]")
_BETWEEN = re.compile(rb"[\n=\[\]{},]")
_SEE = "see docs/reference/agent-toml.md"


def check_shape(data: bytes, where: str) -> None:
    """Raise BadInput if the text is longer, deeper or has more keys than any sensible file."""
    if len(data) > MAX_BYTES:
        raise BadInput(f"{where}: {len(data)} bytes are too long, the limit is {MAX_BYTES}", "keep long texts in files")
    longest = max(map(len, data.split(b"\n")))
    if longest > MAX_LINE_BYTES:
        raise BadInput(f"{where}: a line has {longest} bytes, the limit is {MAX_LINE_BYTES}", "break the line")
    bare = _STRING.sub(lambda match: _without_text(match, where), data)
    keys = bare.count(b"=") + bare.count(b"[")
    _bound(where, "keys and tables", keys, MAX_KEYS)
    _bound(where, "items in arrays and tables", bare.count(b","), MAX_ITEMS)
    _bound(where, "levels of brackets", _depth(bare), MAX_DEPTH)
    words = [word.strip() for word in _BETWEEN.split(bare)]
    _bound(where, "parts in one key", max(word.count(b".") for word in words) + 1, MAX_KEY_PARTS)
    _bound(where, "bytes in one key or number", max(map(len, words)), MAX_WORD_BYTES)


def _without_text(match: re.Match[bytes], where: str) -> bytes:
    if match["open"]:
        line = match.string.count(b"\n", 0, match.start()) + 1
        raise BadInput(f"{where}: not TOML: a string has no end (at line {line})", "close it with the same quotes")
    return b"" if match[0].startswith(b"#") else b"s"


def _depth(bare: bytes) -> int:
    depth = deepest = 0
    for match in _BRACKET.finditer(bare):
        depth = depth + 1 if match[0] in b"[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _bound(where: str, what: str, count: int, limit: int) -> None:
    if count > limit:
        raise BadInput(f"{where}: not TOML as hive reads it: {count} {what}, the limit is {limit}", _SEE)
