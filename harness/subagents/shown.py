"""What is shown of a sub-agent: to hive, and to the model of its parent. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from harness.subagents.peer import Event
from harness.subagents.watch import Seen
from meta.text import one_line
from meta.wire.link import PodInfo

UNREACHABLE = "unreachable"


def state_of(seen: Seen) -> str:
    """Return the state of a pod as its socket said it, while that answers."""
    return seen.state if seen.visible or seen.state == "starting" else UNREACHABLE


def info_of(name: str, parent: str, state: str, seen: Seen, writes: Iterable[str]) -> PodInfo:
    """Return what hive shows of a pod. `writes`: the targets that it may write."""
    targets = ", ".join(writes)
    scope = f"writes {targets}" if targets else "reads only"
    return PodInfo(
        name=name,
        parent=parent,
        state=state,
        scope=one_line(scope, 500),
        turn=seen.turn,
        result=seen.result,
        ended=seen.ended,
    )


def line_of(info: PodInfo, parent: str) -> str:
    """Return a pod as one line. `parent` is the pod whose model reads it."""
    parts = [f"{info.name}: {info.state}", f"turn {info.turn}", info.scope]
    if info.result:
        parts.append(f"its latest run: {info.result}")
    if info.parent != parent:
        parts.append(f"below {info.parent}")
    return ", ".join(parts)


def texts_of(history: Event) -> list[str]:
    """Return the texts that the model of a pod said, from the items of its history. What is strange is left out."""
    data = history.get("data")
    items = data.get("items") if isinstance(data, dict) else None
    return [text for item in items if (text := _said(item))] if isinstance(items, list) else []


def _said(item: object) -> str:
    """Return the text of an item of a history that its model said."""
    if not isinstance(item, dict) or item.get("type") != "message" or item.get("role") != "assistant":
        return ""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
