"""Which settings of an agent.toml do nothing, or less than they say, with the runtime that it names, in words. Pure.

For the operator, who would approve them and believe in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from meta.agent_toml.obeyed import obeyed

NO_EFFECT = "NO EFFECT: "
"""Begins the words about settings that the runtime does not obey."""

_KEYS = {
    "allow": "permissions.allow",
    "deny": "permissions.deny",
    "max_turns": "limits.max_turns",
    "dollars": "budget.dollars",
}
"""The key of agent.toml for each field of `Obeyed`."""
_WHY = {
    "budget.dollars": "it reports none",
    "limits.max_turns": "it does not count rounds",
    "permissions.allow": "it does not ask before it uses a tool",
    "permissions.deny": "it does not ask before it uses a tool",
}
_TOO_LITTLE = {"opencode": "TOO LITTLE IS COUNTED: budget.tokens: opencode reports the last call of each turn alone"}


def describe_no_effect(settings: Mapping[str, str]) -> list[str]:
    """Return a line for each kind of setting that does nothing. `settings` is as `flatten` returns it."""
    runtime = settings.get("runtime", "")
    ignored = [_KEYS[name] for name, is_obeyed in asdict(obeyed(runtime)).items() if not is_obeyed]
    by_reason: dict[str, list[str]] = {}
    for key in ignored:
        if settings.get(key, "[]") != "[]":
            by_reason.setdefault(_WHY[key], []).append(key)
    lines = [f"{NO_EFFECT}{', '.join(keys)}: runtime {runtime}: {why}" for why, keys in by_reason.items()]
    if "budget.tokens" in settings and runtime in _TOO_LITTLE:
        lines.append(_TOO_LITTLE[runtime])
    return lines
