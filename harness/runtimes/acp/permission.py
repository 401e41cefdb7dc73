"""The answer to an agent that asks if a tool may run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.prompts.permissions import is_permitted
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
    """Return the answer: what the rules permit (harness.prompts.permissions) is allowed once.

    The option is chosen by its kind: ids and order differ between agents. After a cancel the agent waits for an answer
    too, which says so. A rule is for the tool's name, its title, its kind or its id.
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
    allowed = is_permitted(permissions, *names)
    option = _option(params.get("options"), _ALLOW if allowed else _REJECT)
    if option is None:
        return Decision({"outcome": {"outcome": "cancelled"}}, False, f"{title}: it offers no answer that fits")
    answer = {"outcome": {"outcome": "selected", "optionId": option}}
    return Decision(answer, allowed, f"{title}: {'allowed' if allowed else 'refused by permissions in agent.toml'}")


def _option(options: object, kinds: Sequence[str]) -> object:
    offered = [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []
    return next((one.get("optionId") for kind in kinds for one in offered if one.get("kind") == kind), None)
