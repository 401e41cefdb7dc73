"""Which settings of an agent.toml do nothing, or less than they say, with the runtime that it names, in words. Pure.

For the operator, who would approve them and believe in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from meta.agent_toml.obeyed import obeyed
from meta.agent_toml.runtimes import SCRIPT, WITH_COMMAND
from meta.agent_toml.tools import TOOLS
from meta.network.runtime_hosts import runtime_rules

NO_EFFECT = "NO EFFECT: "
"""Begins the words about settings that the runtime does not obey."""
UNKNOWN_EFFECT = "UNKNOWN EFFECT: "
"""Begins the words about settings that the runtime may not obey: hive does not know its agent."""

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
_NO_MODEL = "it has neither a model nor tools"
_UNKNOWN = {
    "budget.dollars": "its agent may report none",
    "permissions.allow": "its agent may not ask before it uses a tool",
    "permissions.deny": "its agent may not ask before it uses a tool",
}
"""Why hive does not know if a setting has an effect with the runtimes that start any agent."""
_OF_A_MODEL = {
    **dict.fromkeys(("permissions.allow", "permissions.deny"), "[]"),
    **dict.fromkeys(("model", "prompt", "limits.max_turns", "budget.tokens", "budget.dollars"), ""),
    "limits.tool_seconds": "1800",
}
"""The settings that do nothing without a model, with their defaults."""
_OF_A_CLI = ("env", "mcp_servers", "scope")
"""The tables that do nothing without a CLI."""
_TOO_LITTLE = {"opencode": "TOO LITTLE IS COUNTED: budget.tokens: opencode reports the last call of each turn alone"}


def describe_no_effect(settings: Mapping[str, str]) -> list[str]:
    """Return a line for each kind of setting that does nothing. `settings` is as `flatten` returns it."""
    runtime = settings.get("runtime", "")
    by_reason: dict[tuple[str, str], list[str]] = {}
    ignored = (*_ignored(runtime, settings), *_rules(runtime, settings), *_defaults(runtime, settings))
    for key, beginning, why in ignored:
        by_reason.setdefault((beginning, why), []).append(key)
    lines = [f"{beginning}{', '.join(keys)}: runtime {runtime}: {why}" for (beginning, why), keys in by_reason.items()]
    lines += _without_meaning(settings, runtime)
    if "budget.tokens" in settings and runtime in _TOO_LITTLE:
        lines.append(_TOO_LITTLE[runtime])
    return lines


def _ignored(runtime: str, settings: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield each setting that the runtime may not obey, with how its line begins and the reason."""
    if runtime == SCRIPT:
        tables = (table for table in _OF_A_CLI if any(key.startswith(f"{table}.") for key in settings))
        changed = (key for key, default in _OF_A_MODEL.items() if settings.get(key, default) != default)
        for key in (*changed, *tables):
            yield key, NO_EFFECT, _NO_MODEL
        return
    for name, is_obeyed in asdict(obeyed(runtime)).items():
        key = _KEYS[name]
        if is_obeyed or settings.get(key, "[]") == "[]":
            continue
        if runtime in WITH_COMMAND and key in _UNKNOWN:
            yield key, UNKNOWN_EFFECT, _UNKNOWN[key]
        else:
            yield key, NO_EFFECT, _WHY[key]


def _rules(runtime: str, settings: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the rules of the script runtime if the agent has another one."""
    if runtime not in ("", SCRIPT) and any(key.startswith("script[") for key in settings):
        yield "[[script]]", NO_EFFECT, f"only runtime {SCRIPT} has rules"


def _defaults(runtime: str, settings: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield `network.defaults` if it is off and the runtime has no hosts of its own."""
    if settings.get("network.defaults") == "false" and not runtime_rules(runtime, key_outside=False):
        yield "network.defaults", NO_EFFECT, "it has no hosts of its own"


def _without_meaning(settings: Mapping[str, str], runtime: str) -> list[str]:
    """Return a line for each list of rules with words that the runtime cannot be held to."""
    tools = next((row for name, row in TOOLS.items() if name == runtime), None)
    if tools is None:
        return []
    servers = sorted({key.split(".")[1] for key in settings if key.startswith("mcp_servers.")})
    lines = []
    for key in ("permissions.allow", "permissions.deny"):
        words = json.loads(settings.get(key, "[]"))
        unknown = [word for word in words if not tools.meant(word, servers)]
        if unknown:
            names = ", ".join(f"`{word}`" for word in unknown)
            lines.append(f"{NO_EFFECT}{key}: runtime {runtime} has no such tool, or no such pattern for one: {names}")
    return lines
