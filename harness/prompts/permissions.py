"""What the CLIs may do: the permissions of agent.toml in the words of each runtime.

claude reads a settings file. It has two modes here. Without rules in `allow` it may use every tool that `deny` does not
name (`bypassPermissions`; the container is the wall). With rules it may use only those and hive's (`dontAsk`: what no
rule allows is refused without a question). Runtimes of the Agent Client Protocol ask hive; `is_permitted` answers, and
hive's own tools (`is_hives`) may always run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any

from meta.agent_toml.settings import AgentSettings, Permissions

CLAUDE_SETTINGS = "claude-settings.json"
HIVE_TOOLS = ("mcp__hive", "mcp__pods")
"""The rules of claude for all tools of the MCP servers `hive` and `pods`."""

_HIVE_NAME = re.compile(r"mcp(?:__(?:hive|pods)__|_(?:hive|pods)_|\.(?:hive|pods)\.)\w+|(?:hive|pods)[_./:]\w+")
"""The names of hive's tools in the runtimes that were seen."""


def claude_settings(settings: AgentSettings) -> dict[str, Any]:
    """Return the settings for claude's `--settings`."""
    text = resources.files("harness.prompts").joinpath(CLAUDE_SETTINGS).read_text(encoding="utf-8")
    base: dict[str, Any] = json.loads(text)
    given, rules = settings.permissions, base["permissions"]
    allow = [*rules["allow"], *given.allow, *HIVE_TOOLS] if given.allow else rules["allow"]
    mode = "dontAsk" if given.allow else "bypassPermissions"
    deny = [*rules["deny"], *given.deny, *_of_scope(settings)]
    return base | {"permissions": {"defaultMode": mode, "allow": allow, "deny": deny}}


def _of_scope(settings: AgentSettings) -> Iterator[str]:
    """Yield claude's rules for what the scope denies. The kernel holds it: they only make a better message of it."""
    for rule in settings.scope.deny if settings.scope else ():
        if rule.recursive and re.fullmatch(r"(/[\w.@+=-]+)+", rule.target):  # no character has a meaning in a pattern
            for tool in ("Edit", "Read") if rule.permission == "read" else ("Edit",):
                yield f"{tool}(/{rule.target}/**)"


def is_hives(name: str) -> bool:
    """Return True if a tool with this name is hive's. A title is no name: it is often what the model wrote."""
    return _HIVE_NAME.fullmatch(name) is not None


def is_permitted(permissions: Permissions, *names: str, written: Sequence[str] = ()) -> bool:
    """Return True if a tool with these names (its own, its kind) may run. `deny` wins over `allow`.

    The model may have `written` others, such as a title. A rule of `allow` is not for them, one of `deny` is.
    Upper and lower case are the same, and `*` in a rule stands for any text.
    """
    if _matches(permissions.deny, (*names, *written)):
        return False
    return not permissions.allow or _matches(permissions.allow, names)


def _matches(rules: list[str], names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), rule.lower()) for rule in rules for name in names if name)
