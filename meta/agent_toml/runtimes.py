"""The runtimes: what can take the turns of an agent. Standard library only, for the command line."""

from __future__ import annotations

import difflib
from typing import Literal, cast, get_args

from meta.errors import BadInput

RuntimeName = Literal["script", "claude", "codex", "gemini", "opencode", "claude-acp", "acp"]
RUNTIMES: frozenset[str] = frozenset(get_args(RuntimeName))
"""The runtimes of this hive's harness. All but `script` and `claude` speak the Agent Client Protocol."""

SCRIPT: RuntimeName = "script"
WITHOUT_CLI: frozenset[str] = frozenset({"script"})
"""The runtimes that start no CLI."""
WITH_COMMAND: frozenset[str] = frozenset({"acp"})
"""The runtimes that have no CLI of their own: agent.toml has its command."""
SEEDED: tuple[str, ...] = tuple(name for name in get_args(RuntimeName) if name not in WITH_COMMAND)
"""The runtimes with which an agent can begin, without another key."""

_SHOWN = 60


def runtime_name(text: str) -> RuntimeName:
    """Return `text` as the name of a runtime. Raise BadInput that lists them."""
    if text in RUNTIMES:
        return cast("RuntimeName", text)
    near = difflib.get_close_matches(text, RUNTIMES, n=1)
    raise BadInput(
        f"{text[:_SHOWN]!r} is not a runtime{f', did you mean {near[0]!r}?' if near else ''}",
        f"the runtimes are {', '.join(get_args(RuntimeName))}; see docs/reference/agent-toml.md",
    )
