"""Texts that an agent may have written, made safe for a terminal, or short for a line of a list."""

from __future__ import annotations

from meta.text import show_invisible

TITLE = 110
"""Characters of a text in its title."""


def escape(text: str) -> str:
    """Return `text` with what a terminal obeys or does not show as escapes. Only a line feed ends a line."""
    return show_invisible(text)


def short_commit(commit: str | None) -> str:
    """Return the first 12 digits of a commit."""
    return (commit or "")[:12]


def first_line(text: str | None) -> str:
    """Return the first line, as it fits in a table."""
    return (text or "").strip().split("\n", 1)[0]


def title(text: str) -> str:
    """Return the first line as a title, with a mark if that is not all."""
    line = first_line(text)
    return line[:TITLE] + (" …" if len(line) > TITLE or line != text.strip() else "")
