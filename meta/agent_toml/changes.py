"""The changes between two agent.toml in words, for the operator who approves them and the agent that gets them. Pure.

Nothing is cut: what is approved is what was shown. The values are of agents, so a text is quoted as in JSON, or stands
line by line behind a mark. All is linear in the length of the values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile

from meta.agent_toml.scope_words import describe_scope, is_of_scope
from meta.agent_toml.settings import AgentSettings, flatten
from meta.agent_toml.workspace_words import describe_workspaces, is_of_workspace
from meta.names import ALL

Flat = Mapping[str, str]
"""Settings as `flatten` returns them."""

MORE = "MORE RIGHTS: "
"""Begins the words of a change with which an agent may do more than before."""

_SHORT = 100
"""Characters of a value that stands on the line of its key."""
_CONTEXT = 2
_UNSET = {
    "command": "the runtime's own",
    "model": "the runtime's default",
    "budget.turns": "no limit",
    "budget.tokens": "no limit",
    "budget.dollars": "no limit",
    "limits.max_turns": "no limit",
}
"""What it means that a key has no value."""
_EMPTY = {
    "permissions.allow": "all tools are allowed",
    "permissions.deny": "no tool is denied",
    "recipients": "the manager only",
    "network.allow": "the hosts of its runtime only",
    "pods.reports": "none is told to the manager",
}
"""What it means that a list is empty."""
_UNITS = {
    "budget.turns": "turns a day",
    "budget.tokens": "tokens a day",
    "budget.dollars": "dollars a day",
    "limits.turn_seconds": "s",
    "limits.silence_seconds": "s",
    "limits.tool_seconds": "s",
    "limits.max_turns": "rounds",
    "pods.max": "sub-agents at a time",
    "start.delay": "s",
}


def describe_changes(before: Flat, after: Flat) -> list[str]:
    """Return what changed, one text for each key; those with which the agent may do more come first.

    What it may newly reach is not marked: which hosts these are depends on the operator's file too, and
    `meta.network.reach_words` has the words for them. A text may have several lines. With an empty `before` (a new
    agent) return what differs from the defaults, and the runtime.
    """
    if not before:
        default = flatten(AgentSettings())
        new = [key for key in _plain(after) if key == "runtime" or after[key] != default.get(key)]
        texts = [_new(key, after[key]) for key in sorted(new, key=lambda key: (key != "runtime", key))]
        return [*texts, *describe_scope({}, after, MORE), *describe_workspaces({}, after)]
    changed = [key for key in sorted(_plain({**before, **after})) if before.get(key) != after.get(key)]
    texts = [_described(key, before.get(key), after.get(key)) for key in changed]
    texts += [*describe_scope(before, after, MORE), *describe_workspaces(before, after)]
    return [*(text for text in texts if text.startswith(MORE)), *(text for text in texts if not text.startswith(MORE))]


def list_of(settings: Flat, key: str) -> tuple[str, ...]:
    """Return the entries of a list, none if it is not set."""
    return tuple(_items(key, settings.get(key)) or ())


def _plain(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if not is_of_workspace(key) and not is_of_scope(key)]


def _new(key: str, value: str) -> str:
    return f"{key}: {_value(key, value)}" if _is_short(value) else _block(key, "", value)


def _described(key: str, before: str | None, after: str | None) -> str:
    mark = MORE if _gives_more(key, before, after) else ""
    old, new = _items(key, before), _items(key, after)
    if old is not None and new is not None:
        return f"{mark}{key}: {_list_change(key, old, new)}"
    if not _is_short(before or "") or not _is_short(after or ""):
        return mark + _block(key, before or "", after or "")
    return f"{mark}{key}: {_value(key, before)} -> {_value(key, after)}"


def _list_change(key: str, old: Sequence[str], new: Sequence[str]) -> str:
    removed, added = _without(old, new), _without(new, old)
    parts = [f"{verb} {_quoted(items)}" for verb, items in (("removed", removed), ("added", added)) if items]
    words = ", ".join(parts) or f"the order is now {_quoted(new)}"
    return f"{words}; now {_EMPTY.get(key, 'empty')}" if not new else words


def _without(items: Sequence[str], others: Iterable[str]) -> list[str]:
    left_out = frozenset(others)
    return [item for item in items if item not in left_out]


def _quoted(items: Sequence[str]) -> str:
    return ", ".join(json.dumps(item, ensure_ascii=False) for item in items)


def _value(key: str, value: str | None) -> str:
    if value is None:
        return _UNSET.get(key, "unset")
    items = _items(key, value)
    if items is not None:
        return _quoted(items) or _EMPTY.get(key, "empty")
    unit = _UNITS.get(key)
    if unit:
        return f"{value} {unit}"
    return value if _is_json(key, value) else json.dumps(value, ensure_ascii=False)


def _is_json(key: str, value: str) -> bool:
    """Return True for a value that `flatten` wrote as JSON: a number, true, false, a list of texts."""
    if key in _TEXTS or key.startswith("env."):
        return False
    try:
        return json.dumps(json.loads(value), ensure_ascii=False) == value
    except (ValueError, RecursionError):
        return False


def _block(key: str, before: str, after: str) -> str:
    """Return the lines that changed, with two lines around them."""
    old, new = before.split("\n") if before else [], after.split("\n") if after else []
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    rest = min(len(old), len(new)) - head
    pairs = zip(reversed(old[len(old) - rest :]), reversed(new[len(new) - rest :]), strict=True) if rest else ()
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    removed, added = old[head : len(old) - tail], new[head : len(new) - tail]
    lines = [
        f"{key}: {len(removed)} line{'' if len(removed) == 1 else 's'} removed, {len(added)} added",
        *(f"    {line}" for line in old[max(0, head - _CONTEXT) : head]),
        *(f"  - {line}" for line in removed),
        *(f"  + {line}" for line in added),
        *(f"    {line}" for line in old[len(old) - tail : len(old) - tail + _CONTEXT] if tail),
    ]
    return "\n".join(lines)


def _is_short(value: str) -> bool:
    return len(value) <= _SHORT and "\n" not in value


def _items(key: str, value: str | None) -> list[str] | None:
    """Return the entries of a value that is a list of texts; None if it is none. A list without a value is empty."""
    if key not in _LISTS:
        return None
    if value is None:
        return []
    items = json.loads(value)
    return items if isinstance(items, list) else None


_TEXTS = frozenset({"runtime", "model", "label", "description", "prompt"})
_LISTS = frozenset({"permissions.allow", "permissions.deny", "recipients", "network.allow", "pods.reports"})


def _gives_more(key: str, before: str | None, after: str | None) -> bool:
    """Return True if the agent may do more, or something else, than before."""
    test = _RIGHTS.get(key)
    if test is not None:
        return test(before, after)
    top, _, name = key.partition(".")
    return top == "mcp_servers" and name.endswith((".command", ".url")) and after is not None


def _removes(before: str | None, after: str | None) -> bool:
    old, new = _items("permissions.deny", before) or [], _items("permissions.deny", after) or []
    return bool(_without(old, new))


def _adds(before: str | None, after: str | None) -> bool:
    old, new = _items("recipients", before) or [], _items("recipients", after) or []
    return ALL not in old and bool(_without(new, old))


def _allows_more(before: str | None, after: str | None) -> bool:
    old, new = _items("permissions.allow", before) or [], _items("permissions.allow", after) or []
    return bool(old) and (not new or bool(_without(new, old)))


def _raises(before: str | None, after: str | None) -> bool:
    return before is not None and (after is None or float(after) > float(before))


def _differs(before: str | None, after: str | None) -> bool:
    return after is not None and before != after


def _turns_on(before: str | None, after: str | None) -> bool:
    return after == "true"


_RIGHTS: Mapping[str, Callable[[str | None, str | None], bool]] = {
    "runtime": _differs,
    "command": _differs,
    "permissions.allow": _allows_more,
    "permissions.deny": _removes,
    "recipients": _adds,
    "auto_propose": _turns_on,
    "budget.turns": _raises,
    "budget.tokens": _raises,
    "budget.dollars": _raises,
    "pods.max": _raises,
}
