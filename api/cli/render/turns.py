"""The result of a request about an agent's turns, as a line."""

from __future__ import annotations

from typing import Any

DONE = {
    "pause": "is paused",
    "resume": "is resumed",
    "cancel": "had its turn ended",
    "model": "has its model set",
}
"""What a request did to an agent, in words."""
ANSWERED = {"compact": "is compacted", "new-session": "begins a new conversation with its next turn"}
"""The same for what a harness does later if a turn runs: only its answer says what it did."""


def sentence(result: dict[str, Any]) -> str:
    """Return the result of a request as a line."""
    agent, verb, text = result["agent"], result["accepted"], str(result.get("text", ""))
    if verb in ANSWERED:
        return f"{agent}: {text}" if text else f"{agent} {ANSWERED[verb]}"
    return f"{agent} {DONE.get(verb, verb)}{f': {text}' if text else ''}"
