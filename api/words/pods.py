"""Pods and their events in words: a tree, and lines of text. Pure. All names and texts in them are the agent's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meta.text import one_line, quoted

Row = Mapping[str, Any]
DEEPEST = 8
"""How far a row is indented at most."""
_SHOWN = 300
STATES = {
    "starting": "starting",
    "waiting": "waits for its scope",
    "unreachable": "runs, and does not answer",
}
"""States that need more than their own word."""
RESULTS = {
    "finished": "finished",
    "paused": "was paused",
    "limit_reached": "reached a limit",
    "error": "failed",
    "unknown": "ended",
}


def says_something(pods: Sequence[Row]) -> bool:
    """Return True if the pods tell more than the agent's own turn state: there are several, or its own is not usual."""
    return len(pods) > 1 or any(pod["state"] not in ("idle", "running") for pod in pods)


def tree(pods: Sequence[Row]) -> list[tuple[int, Row]]:
    """Return the pods with their depth, each sub-agent below its parent. A pod comes after its parent in `pods`."""
    children: dict[str, list[Row]] = {}
    for pod in pods:
        children.setdefault(pod["parent"], []).append(pod)
    rows: list[tuple[int, Row]] = []
    stack = [(0, pod) for pod in reversed(children.get("", []))]
    while stack:
        depth, pod = stack.pop()
        rows.append((min(depth, DEEPEST), pod))
        stack += [(depth + 1, child) for child in reversed(children.pop(pod["name"], []) if pod["name"] else [])]
    return rows


def state(pod: Row) -> str:
    """Return the state of a pod in words."""
    return STATES.get(pod["state"], str(pod["state"]))


def last_turn(pod: Row) -> str:
    """Return what the last turn of a pod was: "turn 3 finished"; "" if there was none."""
    if not pod["turn"]:
        return ""
    return f"turn {pod['turn']} {RESULTS[pod['result']]}" if pod["result"] in RESULTS else f"turn {pod['turn']}"


def row(depth: int, pod: Row) -> str:
    """Return a pod as one line of a tree."""
    parts = (state(pod), last_turn(pod), pod["scope"] and f"may write {quoted(pod['scope'])}")
    return f"{'  ' * depth}{pod['name']}: {', '.join(filter(None, parts))}"


def event_lines(event: object) -> Iterator[str]:
    """Yield what an event of the pod protocol says to a person who watches. Pieces of a text say nothing yet."""
    data = event.get("data") if isinstance(event, Mapping) else None
    value: Row = data if isinstance(data, Mapping) else {}
    match event.get("event") if isinstance(event, Mapping) else None:
        case "text_done":
            yield from str(value.get("text", "")).split("\n")
        case "tool_call_done":
            yield f"-> {_line(value, 'name')} {_line(value, 'arguments')}"
        case "tool_result":
            yield f"<- {'failed: ' if value.get('is_error') else ''}{_line(value, 'output')}"
        case "run_end":
            yield f"-- the run {RESULTS.get(str(value.get('result')), 'ended')}"
        case "error":
            yield f"-- error ({_line(value, 'code')}): {_line(value, 'message')}"
        case "notification":
            yield f"-- {_line(value, 'level')} of {_line(value, 'source')}: {_line(value, 'message')}"
        case "shutdown":
            yield "-- the pod ends"


def item_lines(item: object) -> Iterator[str]:
    """Yield what an item of a history says."""
    value: Row = item if isinstance(item, Mapping) else {}
    match value.get("type"):
        case "message":
            parts = value.get("content")
            texts = (
                [str(part.get("text", "")) for part in parts if isinstance(part, Mapping)]
                if isinstance(parts, list)
                else [str(parts)]
            )
            mark = "" if value.get("role") == "assistant" else "> "
            yield from (f"{mark}{line}" for text in texts for line in text.split("\n"))
        case "tool_call":
            yield f"-> {_line(value, 'name')} {_line(value, 'arguments')}"
        case "tool_result":
            yield f"<- {'failed: ' if value.get('is_error') else ''}{_line(value, 'output')}"
        case _ if "text" in value:
            yield f"-- {_line(value, 'text')}"


def _line(value: Row, key: str) -> str:
    return one_line(str(value.get(key, "")), _SHOWN)
