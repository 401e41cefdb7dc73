"""Texts that an agent may have written, made safe and short for a terminal."""

from __future__ import annotations

ESCAPES = {
    code: f"\\u{code:04x}"
    for code in (*range(32), *range(127, 160), *range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}
"""Control characters, and those that reverse the direction of text, as their escapes."""


def escape(text: str) -> str:
    """Return `text` with its control characters escaped."""
    return text.translate(ESCAPES)


def short_commit(commit: str | None) -> str:
    """Return the first 12 digits of a commit."""
    return (commit or "")[:12]


def first_line(text: str | None) -> str:
    """Return the first line, as it fits in a table."""
    return (text or "").strip().split("\n", 1)[0]
