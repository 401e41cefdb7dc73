"""Texts that an agent may have written, made safe and short for a terminal."""

from __future__ import annotations

from meta.text import show_invisible


def escape(text: str) -> str:
    """Return `text` with what a terminal obeys or does not show as escapes. Only a line feed ends a line."""
    return show_invisible(text)


def short_commit(commit: str | None) -> str:
    """Return the first 12 digits of a commit."""
    return (commit or "")[:12]


def first_line(text: str | None) -> str:
    """Return the first line, as it fits in a table."""
    return (text or "").strip().split("\n", 1)[0]
