"""The result of a request about an agent's turns, as a line."""

from __future__ import annotations

from typing import Any

DONE = {
    "pause": "is paused",
    "resume": "is resumed",
    "cancel": "had its turn ended",
    "compact": "had its conversation compacted",
    "new-session": "begins a new conversation with its next turn",
    "model": "has its model set",
}
"""What a request did to an agent, in words."""


def sentence(result: dict[str, Any]) -> str:
    """Return the result of a request as a line."""
    text = str(result.get("text", ""))
    return f"{result['agent']} {DONE.get(result['accepted'], result['accepted'])}{f': {text}' if text else ''}"
