"""The words for the keys of agent.toml. Pure. Names in a key are the agent's own: a page shows them as text."""

from __future__ import annotations

import re
from collections.abc import Mapping

MODEL = "Model"
ALLOW = "Rules for hosts"
_LABELS: Mapping[str, str] = {
    "label": "Label",
    "description": "Description",
    "model": MODEL,
    "effort": "Effort",
    "runtime": "Runtime",
    "command": "Command of its CLI",
    "role": "Role",
    "prompt": "Prompt",
    "recipients": "May write to",
    "auto_propose": "Proposes commits by itself",
    "network.allow": ALLOW,
    "network.defaults": "Hosts of its runtime",
    "permissions.allow": "Tools allowed",
    "permissions.deny": "Tools denied",
    "budget.dollars": "Budget",
    "budget.tokens": "Budget",
    "budget.turns": "Budget",
    "limits.turn_seconds": "Longest turn",
    "limits.max_turns": "Most rounds of a turn",
    "limits.silence_seconds": "Longest silence",
    "limits.tool_seconds": "Longest call of a tool",
    "pods.max": "Sub-agents at a time",
    "pods.reports": "Reports of pods to the manager",
    "scope": "Paths",
    "scope.allow": "Paths that it may use",
    "scope.deny": "Paths of these that it may not",
    "start.exit": "Fault at the start, exit",
    "start.fault": "Fault at the start",
    "start.delay": "Fault at the start, delay",
}
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"env\.(.+)", re.DOTALL), "Variable {0}"),
    (re.compile(r"mcp_servers\.([^.]+)\.command"), "MCP server {0}, command"),
    (re.compile(r"mcp_servers\.([^.]+)\.url"), "MCP server {0}, address"),
    (re.compile(r"mcp_servers\.([^.]+)\.env\.(.+)", re.DOTALL), "MCP server {0}, variable {1}"),
    (re.compile(r"mcp_servers\.([^.]+)\.headers\.(.+)", re.DOTALL), "MCP server {0}, header {1}"),
)
_RULE = re.compile(r"script\[([0-9]{1,6})\][. ](.+)", re.DOTALL)
_PARTS: Mapping[str, str] = {
    "when": "for a message like",
    "from": "for a message from",
    "order": "order of what it does",
}


def label_of(key: str) -> str:
    """Return the words for a key as `flatten` writes it. A key that has none stands for itself."""
    if key in _LABELS:
        return _LABELS[key]
    if rule := _RULE.fullmatch(key):
        return f"Rule {int(rule[1]) + 1} of its script, {_PARTS.get(rule[2], rule[2].replace('.', ', '))}"
    return next((words.format(*match.groups()) for shape, words in _SHAPES if (match := shape.fullmatch(key))), key)
