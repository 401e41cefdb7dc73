"""Keys of events: an event with a key is appended once, however often it is reported.

A daemon that died between a change and its event reports the event again at its next start; the key makes that safe.
Every key is made here. The table is in docs/reference/events.md, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NewType

from meta.names import AgentName, ProposalId, Sha

Key = NewType("Key", str)
"""The key of one event. Only the functions below make it."""

Prefix = NewType("Prefix", str)
"""The beginning of a family of keys, ":" included. The keys of a family are released together."""

NOTICE = Prefix("event:")
"""The family of `notice`."""


def card(agent: AgentName, id: ProposalId, state: str) -> Key:
    """Return the key of the event that an id came to a state."""
    return Key(f"{cards_of(agent)}{id}:{state}")


def refused_tip(agent: AgentName, source: str, commit: Sha | str) -> Key:
    """Return the key of the event that a branch's commit was refused. It begins like a card's: a purge releases it."""
    return Key(f"{cards_of(agent)}tip:{source}:{commit}")


def stale(agent: AgentName, main: Sha) -> Key:
    """Return the key of the event that a deployed commit made proposals stale. It begins like a card's."""
    return Key(f"{cards_of(agent)}stale:{main}")


def behind(agent: AgentName, main: Sha) -> Key:
    """Return the key of the event that a work tree did not follow a deployed commit. It begins like a card's."""
    return Key(f"{cards_of(agent)}behind:{main}")


def cards_of(agent: AgentName) -> Prefix:
    """Return the prefix of the keys of an agent's ids and refused commits."""
    return Prefix(f"card:{agent}:")


def rebuilt(agent: AgentName, rebuilds: int) -> Key:
    """Return the key of the event that the n-th rebuild of an agent is done."""
    return Key(f"{rebuilds_of(agent)}{rebuilds}")


def rebuild_failed(agent: AgentName, rebuilds: int) -> Key:
    """Return the key of the event that the n-th rebuild of an agent failed. Later attempts that fail add no event."""
    return Key(f"{rebuilds_of(agent)}{rebuilds}:failed")


def rebuilds_of(agent: AgentName) -> Prefix:
    """Return the prefix of the keys of an agent's rebuilds."""
    return Prefix(f"rebuilt:{agent}:")


def stopped(agent: AgentName, nonce: str | None, transient: str) -> Key | None:
    """Return the key of the event that a launch was stopped on purpose; None if the launch is unknown."""
    return Key(f"stopped:{agent}:{nonce}:{transient}") if nonce else None


def crashed(agent: AgentName, nonce: str | None) -> Key:
    """Return the key of the event that a launch crashed."""
    return Key(f"crash:{agent}:{nonce}")


def unhealthy(agent: AgentName, nonce: str) -> Key:
    """Return the key of the event that a launch did not pass its health gate."""
    return Key(f"unhealthy:{agent}:{nonce}")


def cli_missing(agent: AgentName, nonce: str) -> Key:
    """Return the key of the event that the coding agent of a launch does not start."""
    return Key(f"no-cli:{agent}:{nonce}")


def needs_update(agent: AgentName, revision: str) -> Key:
    """Return the key of the event that an agent is outdated, compared with a revision of hive."""
    return Key(f"needs-update:{agent}:{revision}")


def disagrees(agent: AgentName, ids: Iterable[int | str]) -> Key:
    """Return the key of the event that deployed ids of an agent name meta commits that are not in main."""
    return Key(f"disagrees:{agent}:{','.join(map(str, sorted(ids)))}")


def network_refused(agent: AgentName, host: str, port: int, first: int) -> Key:
    """Return the key of the event that an agent was refused a host, until that is allowed and refused again."""
    return Key(f"network:{agent}:refused:{host}:{port}:{first}")


def network_allowed(agent: AgentName, rule: str, at: int) -> Key:
    """Return the key of the event that the operator allowed an agent a rule for a time."""
    return Key(f"network:{agent}:allowed:{rule}:{at}")


def network_ended(agent: AgentName, rule: str, at: int) -> Key:
    """Return the key of the event that the time of an allowed rule is over. `at`: when it was allowed."""
    return Key(f"network:{agent}:ended:{rule}:{at}")


def declared(digest: str, by: str) -> Key:
    """Return the key of the event that a host's generation declared agents."""
    return Key(f"declared:{digest}:{by}")


def rollout_started(id: str) -> Key:
    """Return the key of the event that a rebuild of all agents began."""
    return Key(f"rollout:{id}")


def rollout_ended(id: str) -> Key:
    """Return the key of the event that a rebuild of all agents ended."""
    return Key(f"rollout-end:{id}")


def notice(n: int, kind: str) -> Key:
    """Return the key of the message that reports event `n` to the manager as a helper event of this kind."""
    return Key(f"{NOTICE}{n}:{kind}")
