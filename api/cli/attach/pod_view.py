"""Events of the pod protocol as lines of text: what is written as it is written, and one line for each tool.

All of it is the pod's own claim, and any of it may be hostile: who prints a line escapes it.
"""

from __future__ import annotations

from typing import Any

from api.cli.attach.view import TEXT_MOST, Line, Style
from api.words import pods

_STYLES = {
    "text_done": Style.TEXT,
    "tool_call_done": Style.TOOL,
    "tool_result": Style.TOOL,
    "error": Style.ERROR,
    "notification": Style.NOTE,
}


class PodView:
    """The view of one pod. `live` is the last line of the text that is written; "" if none is."""

    def __init__(self) -> None:
        self.live = ""

    def show(self, event: dict[str, Any]) -> list[Line]:
        """Return the lines of an event."""
        kind, data = event.get("event"), event.get("data")
        if kind == "text_delta" and isinstance(data, dict):
            self.live = (self.live + str(data.get("text", "")))[-TEXT_MOST:].rpartition("\n")[2]
            return []
        lines = [Line(text, _STYLES.get(str(kind), Style.TURN)) for text in pods.event_lines(event)]
        if lines:
            self.live = ""
        return lines
