"""`[scope]` of agent.toml: what the coding agent, and all that it starts, may read and write.

    [scope]
    allow = [{ target = "/state/work", permission = "write" }, { target = ".", permission = "read", recursive = false }]
    deny = [{ target = "/state/work/release", permission = "write" }]

Targets are paths within the container; a relative one is below the folder of agent.toml. Without the table the agent
may do what its user may.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from meta.agent_toml.script import Table
from meta.text import is_invisible

RULES_LIMIT = 64
"""Rules of one list."""
TARGET_LIMIT = 1000
NAMES_LIMIT = 64

_SHOWN = 60


def check_target(target: str) -> str:
    """Return the path of a rule: absolute, or below the folder of agent.toml."""
    shown = target[:_SHOWN]
    if len(target) > TARGET_LIMIT or target.count("/") > NAMES_LIMIT:
        raise ValueError(f"{shown!r} is too long, at most {TARGET_LIMIT} characters and {NAMES_LIMIT} names")
    if ".." in target.split("/"):
        raise ValueError(f"{shown!r} has '..' in it; write the path without")
    if target.startswith("~"):
        raise ValueError(f"{shown!r} begins with '~'; write the whole path, as /home/agent")
    if any(is_invisible(char) or char in "\n\t" for char in target):
        raise ValueError(f"{shown!r} has a control or invisible character in it; write it without")
    return target


class ScopeRule(Table):
    """A rule of `allow` gives at most its permission; one of `deny` leaves less: `write` reading, `read` nothing."""

    target: Annotated[str, Field(min_length=1), AfterValidator(check_target)]
    permission: Literal["read", "write"]
    recursive: bool = True


ScopeRules = Annotated[list[ScopeRule], Field(max_length=RULES_LIMIT)]


class ScopeSettings(Table):
    """The whole table. At least one rule allows something."""

    allow: Annotated[ScopeRules, Field(min_length=1)]
    deny: ScopeRules = Field(default_factory=list)
