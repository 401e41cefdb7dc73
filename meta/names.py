"""Names and ids. Each passes its check before hive uses it in a path or a command.

Standard library only: the root helper imports this module.
"""

from __future__ import annotations

import re
from typing import NewType

from meta.errors import BadInput

AgentName = NewType("AgentName", str)
ProposalId = NewType("ProposalId", int)
Sha = NewType("Sha", str)
GenerationId = NewType("GenerationId", str)

MANAGER = AgentName("manager")
OPERATOR = "operator"
"""Sender and recipient on behalf of every person who uses the operator's socket."""
SYSTEM = "system"
"""Sender of hive's own messages to agents."""
REMINDER = "reminder"
"""Sender of reminders."""
HOST = "host"
HIVE = "hive"
"""Actor of what the daemon does on its own initiative. Also the MCP server of hive's tools."""
PODS = "pods"
"""The MCP server of an agent's tools for its sub-agents."""
ALL = "*"
"""Recipient of a broadcast: every agent but the sender. The operator does not get it."""
RESERVED = frozenset({OPERATOR, SYSTEM, REMINDER, HOST, HIVE})
"""Names that no agent may have."""
ID_LIMIT = 10**18
"""No id of a tag or of the counter is this large."""
OLDER_ID_LIMIT = 10**12
"""No id of an older hive that this hive goes on from. Far below ID_LIMIT: a forged one leaves enough ids to take."""
NAME_LIMIT = 11
"""Characters; the limit of `nixos-container create`."""

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,9}[a-z0-9])?")
_SHA = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,40}")
_GENERATION = re.compile(r"[0-9a-f]{20}")


def agent_name(text: str) -> AgentName:
    """Return `text` as an agent's name. Raise BadInput with the rule that it breaks."""
    if _NAME.fullmatch(text) and text not in RESERVED:
        return AgentName(text)
    raise BadInput(f"{text[:40]!r} is no agent name: {_name_fault(text)}", "choose a name like 'alice' or 'web-2'")


def _name_fault(text: str) -> str:
    if not text:
        return "it is empty"
    if text in RESERVED:
        return "it is reserved for hive itself"
    if len(text) > NAME_LIMIT:
        return f"it has {len(text)} characters, the limit is {NAME_LIMIT}"
    if not text[0].isascii() or not text[0].islower():
        return "it must begin with a lower-case letter"
    if text.endswith("-"):
        return "it ends in '-'"
    return "only a-z, 0-9 and '-' are allowed"


def sha(text: str) -> Sha:
    """Return `text` as a full commit id (40 lower-case hex digits), or raise BadInput."""
    if _SHA.fullmatch(text):
        return Sha(text)
    raise BadInput(f"{text[:60]!r} is no full commit id", "give the 40 hex digits that `git rev-parse HEAD` prints")


def commit_id(text: str) -> str:
    """Return `text` as a possibly abbreviated commit id (7 to 40 hex digits), or raise BadInput."""
    if _ABBREVIATED.fullmatch(text):
        return text
    raise BadInput(
        f"{text[:60]!r} is no commit id",
        "hive takes commits, not branches or tags: give 7 to 40 hex digits, as `git rev-parse HEAD` prints them",
    )


def proposal_id(value: int) -> ProposalId:
    """Return `value` as the id of a proposal (0 to 2^63 - 1), or raise BadInput."""
    if 0 <= value < 2**63:
        return ProposalId(value)
    raise BadInput(f"{value} is no proposal id", "see `hive pending` for the open ones")


def operator_who(uid: int | None, user: str = "") -> str:
    """Return an operator as tags, events and logs have it: `operator uid 1000`, or `operator anna` for a `user`."""
    if user:
        return f"{OPERATOR} {user}"
    return OPERATOR if uid is None else f"{OPERATOR} uid {uid}"
