"""The changes of the workspaces between two agent.toml in words. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

Flat = Mapping[str, str]
"""Settings as `meta.agent_toml.settings.flatten` returns them."""

_KEY = re.compile(r"workspace\[(\d+)\]\.(url|branch|path)")
_ONCE = "at the next start, and then left alone"


def is_of_workspace(key: str) -> bool:
    """Return True for a key that these words describe."""
    return _KEY.fullmatch(key) is not None


def workspaces_of(flat: Flat) -> dict[str, dict[str, str]]:
    """Return `url`, `branch` and `path` of each workspace, by its path."""
    rows: dict[str, dict[str, str]] = {}
    for key, value in flat.items():
        if match := _KEY.fullmatch(key):
            rows.setdefault(match[1], {})[match[2]] = value
    return {row.get("path", ""): row for row in rows.values()}


def describe_workspaces(before: Flat, after: Flat) -> list[str]:
    """Return a text for each workspace that is new, another one, or no longer named."""
    old, new = workspaces_of(before), workspaces_of(after)
    return [text for path in _ordered(old, new) if (text := _described(path, old.get(path), new.get(path)))]


def _ordered(old: Iterable[str], new: Iterable[str]) -> list[str]:
    return sorted({*old, *new})


def _described(path: str, old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> str:
    if old == new:
        return ""
    name = f"workspace {_quoted(path)}"
    if new is None:
        return f"{name}: no longer named; what is cloned stays with the agent"
    if old is None:
        return f"{name}: new, {_source(new)} is cloned {_ONCE}"
    return f"{name}: {_source(old)} -> {_source(new)}; what is cloned already is left alone"


def _source(row: Mapping[str, str]) -> str:
    branch = f" at branch {_quoted(row['branch'])}" if "branch" in row else ""
    return f"{_quoted(row.get('url', ''))}{branch}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
