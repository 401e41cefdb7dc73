"""The answer to an agent that asks if a tool may run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from meta.agent_toml.settings import Permissions

Json = dict[str, Any]

_ALLOW = ("allow_once", "allow_always")
_REJECT = ("reject_once", "reject_always")


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered, and why."""

    answer: Json
    allowed: bool
    text: str


def decide(params: Json, permissions: Permissions, *, cancelled: bool) -> Decision:
    """Return the answer: what no rule of `deny` matches is allowed once, because the container is the wall.

    The option is chosen by its kind: ids and order differ between agents. After a cancel the agent waits for an answer
    too, which says so. A rule is a pattern of the shell for the tool's name, its title or its kind.
    """
    call = params.get("toolCall")
    names = (
        [call[key] for key in ("name", "title", "kind", "toolCallId") if isinstance(call.get(key), str)]
        if isinstance(call, dict)
        else []
    )
    title = names[0][:200] if names else "a tool"
    if cancelled:
        return Decision({"outcome": {"outcome": "cancelled"}}, False, f"{title}: cancelled")
    rule = next((rule for rule in permissions.deny if any(fnmatchcase(name, rule) for name in names)), None)
    option = _option(params.get("options"), _ALLOW if rule is None else _REJECT)
    if option is None:
        return Decision({"outcome": {"outcome": "cancelled"}}, False, f"{title}: it offers no answer that fits")
    answer = {"outcome": {"outcome": "selected", "optionId": option}}
    if rule is None:
        return Decision(answer, True, f"{title}: allowed")
    return Decision(answer, False, f"{title}: refused by permissions.deny {rule!r}")


def _option(options: object, kinds: Sequence[str]) -> object:
    offered = [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []
    return next((one.get("optionId") for kind in kinds for one in offered if one.get("kind") == kind), None)
