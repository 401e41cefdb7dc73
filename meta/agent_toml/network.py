"""`[network]` of agent.toml: what the agent may reach.

[network]
allow = ["crates.io", "*.github.com", "git.example.org:22", "@python"]    # meta.network.rule, or the operator's group
defaults = true                                                         # the hosts of the runtime itself as well
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from meta.agent_toml.script import Table
from meta.errors import BadInput
from meta.network.rule import parse_rule

ENTRIES_LIMIT = 128
"""Entries of `allow`."""
_GROUP = re.compile(r"@[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_SHOWN = 60


def check_allow(entries: Sequence[str]) -> Sequence[str]:
    """Return the entries. Each is a rule in its one spelling, or the name of a group, and none is there twice."""
    seen: set[str] = set()
    for entry in entries:
        _check_entry(entry)
        if entry in seen:
            raise ValueError(f"{entry!r} is there twice; leave one out")
        seen.add(entry)
    return entries


def _check_entry(entry: str) -> None:
    if entry.startswith("@"):
        if not _GROUP.fullmatch(entry):
            raise ValueError(
                f"{entry[:_SHOWN]!r} is no name of a group; write @ and a-z, 0-9 and -, at most 32, like @python"
            )
        return
    try:
        text = parse_rule(entry).text
    except BadInput as error:
        raise ValueError("; ".join(filter(None, (error.summary, error.hint)))) from error
    if text != entry:
        raise ValueError(f"{entry[:_SHOWN]!r} has another spelling; write {text!r}")


class Network(Table):
    """What the agent may reach. `defaults`: the hosts of its runtime as well, if its key is not outside."""

    allow: Annotated[list[str], Field(max_length=ENTRIES_LIMIT), AfterValidator(check_allow)] = Field(
        default_factory=list
    )
    defaults: bool = True
