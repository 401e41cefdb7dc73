"""The tools of an agent for its sub-agents: what the model reads of them, and what it may give them.

Whatever a model gives is checked here, so that `SubAgents` gets values of the right types and of bounded size.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.subagents.leases.table import NAME_LIMIT, check_name
from meta.errors import BadInput
from meta.scope.paths import PATH_LIMIT, RULES_LIMIT
from meta.wire.pod import Permission, ScopeRule

INPUT_BYTES = 128 * 1024
"""Bytes of UTF-8 of a task or an input."""
OWN = "pod"
"""No child has this name: `pod.sock` is the socket of the agent itself."""


class SubAgents(Protocol):
    """What the tools do. Each method returns a text for the model, or raises HiveError, which becomes a tool's error.

    The CLI may call several at a time, and it does not end a call by going away. A call may be cancelled (asyncio) at
    every await: after harness.subagents.mcp.CALL_SECONDS, and when the harness ends.
    """

    async def spawn(self, name: str, task: str, scope: Sequence[ScopeRule]) -> str:
        """Start a sub-agent with a task, and lend it at least one rule. Targets may be relative to the work folder."""

    async def send(self, name: str, input: str) -> str:
        """Begin the next run of a sub-agent."""

    async def read(self, name: str) -> str:
        """Return what it wrote since the last read."""

    async def stop(self, name: str) -> str:
        """End it for good, and take its scope back."""

    async def list(self) -> str:
        """Return all that there are, with state and scope."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as a model sees it. `call` gets its arguments as they came, of which it ignores what it does not know.

    It raises HiveError if it is refused. `reads`: it changes nothing. `ends`: it ends something for good.
    """

    name: str
    description: str
    properties: Mapping[str, Any]
    call: Callable[[SubAgents, Mapping[str, Any]], Awaitable[str]]
    reads: bool = False
    ends: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its arguments, each of which is required."""
        return {"type": "object", "properties": dict(self.properties), "required": list(self.properties)}


INSTRUCTIONS = (
    "Tools for sub-agents (pods): agents of your own that work beside you in your container, each with a conversation "
    "of its own and with files that you lend it. A pod that may write begins when your turn has ended. Reports of pods "
    "come later as messages: end your turn rather than wait for one."
)


async def _spawn(agents: SubAgents, given: Mapping[str, Any]) -> str:
    name = _name(given)
    return await agents.spawn(name, _text(given, "task"), _scope(given))


async def _send(agents: SubAgents, given: Mapping[str, Any]) -> str:
    return await agents.send(_name(given), _text(given, "input"))


async def _read(agents: SubAgents, given: Mapping[str, Any]) -> str:
    return await agents.read(_name(given))


async def _stop(agents: SubAgents, given: Mapping[str, Any]) -> str:
    return await agents.stop(_name(given))


async def _list(agents: SubAgents, _given: Mapping[str, Any]) -> str:
    return await agents.list()


_NAME = {
    "type": "string",
    "maxLength": NAME_LIMIT,
    "description": "the pod's name: a small letter, then small letters, digits and -",
    "examples": ["tests"],
}
_RULE = {
    "type": "object",
    "properties": {
        "target": {
            "type": "string",
            "maxLength": PATH_LIMIT,
            "description": "a folder or a file: an absolute path, or one relative to your folder of work, without '..'",
        },
        "permission": {"type": "string", "enum": [each.value for each in Permission]},
        "recursive": {
            "type": "boolean",
            "default": True,
            "description": "false: only the target itself and what is directly in it",
        },
    },
    "required": ["target", "permission"],
}
_SCOPE = {
    "type": "array",
    "minItems": 1,
    "maxItems": RULES_LIMIT,
    "items": _RULE,
    "description": "what the pod may read and write, no more than you may; write includes read",
    "examples": [[{"target": "src", "permission": "read"}, {"target": "tests", "permission": "write"}]],
}


def _input(description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": INPUT_BYTES, "description": description}


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "spawn_pod",
            "Start a sub-agent (a pod) that works on a task of its own. Use it for work that one message describes in "
            "full: the pod knows nothing of your conversation. Returns at once, before the pod has done anything. A "
            "pod that may only read begins at once. A pod that may write begins when your turn has ended, and until it "
            "is stopped you can only read what it may write: so finish what you do there first, then end your turn. "
            "Its report comes later as a message to you. An error says which part of the scope cannot be lent.",
            {
                "name": _NAME,
                "task": _input("all that the pod needs to know: what to do, where, and what to report"),
                "scope": _SCOPE,
            },
            _spawn,
        ),
        Tool(
            "send_to_pod",
            "Give a pod that has finished its next task. It still knows its conversation. Returns when the pod has "
            "begun, or an error if it is at work: then wait for its report. The report on it comes as a message.",
            {"name": _NAME, "input": _input("what to do next")},
            _send,
        ),
        Tool(
            "read_pod_output",
            "Return what a pod has said since you last read it: its texts, not its calls of tools. Use it once a "
            "report has come, or to look how far a pod is. Do not repeat it to wait for a pod: end your turn instead.",
            {"name": _NAME},
            _read,
        ),
        Tool(
            "stop_pod",
            "End a pod for good, also in the middle of its work, and take back what you lent it. Its files stay as "
            "they are, its conversation is gone. Use it as soon as you need a pod no more: you may write again where "
            "it could from your next turn on. Returns what became of it.",
            {"name": _NAME},
            _stop,
            ends=True,
        ),
        Tool(
            "list_pods",
            "List your pods and those that they started, with the state and the scope of each. Use it to see who may "
            "write where, or when you do not know a pod's name any more.",
            {},
            _list,
            reads=True,
        ),
    )
}
"""The tools by name, in the order in which a model sees them."""


def _name(given: Mapping[str, Any]) -> str:
    name = check_name(_string(given, "name"))
    if name == OWN:
        raise BadInput(f"no pod of yours can have the name {OWN}", "give it another name, like tests")
    return name


def _text(given: Mapping[str, Any], key: str) -> str:
    text = _string(given, key)
    if not text.strip():
        raise BadInput(f"{key} is empty", "say what the pod is to do")
    size = len(text.encode("utf-8", "replace"))
    if size > INPUT_BYTES:
        raise BadInput(f"{key} has {size} bytes, the limit is {INPUT_BYTES}", "write the rest to a file and name it")
    return text


def _string(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if value is None:
        raise BadInput(f"{key} is missing", f"give {key} as a text")
    if not isinstance(value, str):
        raise BadInput(f"{key} is no text", f"give {key} as a text")
    return value


def _scope(given: Mapping[str, Any]) -> tuple[ScopeRule, ...]:
    rules = given.get("scope")
    if not isinstance(rules, list) or not rules:
        hint = 'give at least one rule, like [{"target": "src", "permission": "read"}]'
        raise BadInput("scope is no list of rules" if rules else "scope is missing or empty", hint)
    if len(rules) > RULES_LIMIT:
        raise BadInput(f"scope has {len(rules)} rules, the limit is {RULES_LIMIT}", "name folders above them")
    return tuple(_rule(rule, number) for number, rule in enumerate(rules, 1))


def _rule(rule: object, number: int) -> ScopeRule:
    where = f"rule {number} of scope"
    if not isinstance(rule, dict):
        raise BadInput(f"{where} is no object", 'give it as {"target": "src", "permission": "read"}')
    target, permission, recursive = rule.get("target"), rule.get("permission"), rule.get("recursive")
    if not isinstance(target, str) or not target or "\0" in target or len(target) > PATH_LIMIT:
        raise BadInput(f"{where} has no usable target", f"give the path of a folder or a file, at most {PATH_LIMIT}")
    if permission not in tuple(Permission):
        raise BadInput(f"{where} has no usable permission", 'give "read" or "write", which includes read')
    if recursive is not None and not isinstance(recursive, bool):
        raise BadInput(f"{where}: recursive is neither true nor false", "leave it out: then it is true")
    return ScopeRule(target=target, permission=Permission(permission), recursive=recursive is not False)
