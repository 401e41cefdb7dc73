"""The answer to an agent that asks if a tool may run. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.prompts.permissions import is_hives, is_permitted
from harness.runtimes.acp.rules import look_up
from harness.runtimes.acp.table import Preset
from meta.agent_toml.settings import Permissions
from meta.names import HIVE, PODS

Json = dict[str, Any]

_ALLOW = ("allow_once", "allow_always")
_REJECT = ("reject_once", "reject_always")


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered, and why."""

    answer: Json
    allowed: bool
    text: str


def decide(params: Json, permissions: Permissions, preset: Preset, *, cancelled: bool) -> Decision:
    """Return the answer: hive's own tools and what the rules permit (harness.prompts.permissions) are allowed once.

    The option is chosen by its kind: ids and order differ between agents. After a cancel the agent waits for an answer
    too, which says so. A rule is for the tool's name or its kind. `deny` is for its title and its id, too.
    """
    found = params.get("toolCall")
    call: Json = found if isinstance(found, dict) else {}
    own = _names(call, preset)
    given = [*own, *_texts(call, "kind")]
    written = _texts(call, "title", "toolCallId")
    title = next((name for name in (*_texts(call, "title"), *given, *written) if name), "a tool")[:200]
    if cancelled:
        return Decision({"outcome": {"outcome": "cancelled"}}, False, f"{title}: cancelled")
    hives = any(map(is_hives, own)) or (preset.server != () and look_up(call, preset.server) in (HIVE, PODS))
    allowed = hives or is_permitted(permissions, *given, written=written)
    option = _option(params.get("options"), _ALLOW if allowed else _REJECT)
    if option is None:
        return Decision({"outcome": {"outcome": "cancelled"}}, False, f"{title}: it offers no answer that fits")
    answer = {"outcome": {"outcome": "selected", "optionId": option}}
    return Decision(answer, allowed, f"{title}: {'allowed' if allowed else 'refused by permissions in agent.toml'}")


def _names(call: Json, preset: Preset) -> list[str]:
    """Return the tool's names as the agent gives them. Its title is none: it is often what the model wrote."""
    name, id = call.get("name"), call.get("toolCallId")
    within = re.match(preset.tool_in_id, id) if preset.tool_in_id and isinstance(id, str) else None
    return [*([name] if isinstance(name, str) else []), *([within.group(1)] if within else [])]


def _texts(call: Json, *keys: str) -> list[str]:
    return [call[key] for key in keys if isinstance(call.get(key), str)]


def _option(options: object, kinds: Sequence[str]) -> object:
    offered = [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []
    return next((one.get("optionId") for kind in kinds for one in offered if one.get("kind") == kind), None)
