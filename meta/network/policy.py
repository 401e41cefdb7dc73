"""What the daemon pushes to `hive-egress`: for each agent what it may reach, until when, and with which keys.

JSON on one line, strict: exact keys, exact types. `hive-egress` keeps the last one on its disk and obeys it without a
daemon; times are Unix seconds, so a rule for an hour ends by itself. Standard library only.

    {"agents": {"alice": {"rules": ["api.example.org"], "grants": [{"rule": "crates.io:443", "until": 1764500000.0}],
                          "routes": ["anthropic"], "held": "", "connections": 256, "bytes_per_second": null,
                          "identity": "100000-1a2b3c"}},
     "keep": ["bob"]}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from meta.errors import BadInput
from meta.names import AgentName, agent_name
from meta.network.rule import Rule, covers, parse_rule

POLICY_LIMIT = 8 * 2**20
"""Bytes of a policy, line end included."""
RULES_LIMIT = 512
"""Rules of one agent, groups expanded."""
IDENTITY_LIMIT = 200
"""Characters of an identity."""
TIME_LIMIT = 2.0**53
"""Unix seconds, at most."""
CONNECTIONS = 256
"""Connections of one agent at the same time, unless the operator's file says otherwise."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A rule until a time."""

    rule: Rule
    until: float


@dataclass(frozen=True, slots=True)
class AgentPolicy:
    """What one agent may reach.

    `rules` are of its configuration, groups expanded; `grants` the operator's for a time; `routes` the names of the
    keys that it may use; `held` why its routes are closed, "" if they are open. `identity` tells an agent from an
    earlier one of the same name: the books of another identity are dropped.
    """

    rules: tuple[Rule, ...] = ()
    grants: tuple[Grant, ...] = ()
    routes: frozenset[str] = frozenset()
    held: str = ""
    connections: int = CONNECTIONS
    bytes_per_second: int | None = None
    identity: str = ""

    def allows(self, host: str, port: int, now: float) -> bool:
        """Return True if a rule, or a grant that has not ended, covers a canonical host and a port."""
        if covers(self.rules, host, port):
            return True
        return any(grant.until > now and grant.rule.covers(host, port) for grant in self.grants)

    def next_end(self, now: float) -> float | None:
        """Return when the next grant ends, None if none does."""
        return min((grant.until for grant in self.grants if grant.until > now), default=None)


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of all agents. An agent that is not in it gets no socket.

    `keep` are agents of whom the daemon knows nothing yet: hive-egress goes on with the last policy that it has of
    each. None of them is in `agents`.
    """

    agents: Mapping[AgentName, AgentPolicy] = field(default_factory=lambda: MappingProxyType({}))
    keep: frozenset[AgentName] = frozenset()

    @property
    def revision(self) -> str:
        """Return 16 hex digits of the content: equal policies have equal ones."""
        return hashlib.sha256(encode_policy(self)).hexdigest()[:16]

    def after(self, old: Policy) -> Policy:
        """Return what is obeyed if `old` was obeyed before: with the rows of `keep` from there."""
        if not self.keep:
            return self
        rows = {name: old.agents[name] for name in sorted(self.keep) if name in old.agents}
        return Policy(MappingProxyType({**rows, **self.agents}))


def encode_policy(policy: Policy) -> bytes:
    """Return the policy as one line of JSON, in one order."""
    agents = {name: _encode_agent(policy.agents[name]) for name in sorted(policy.agents)}
    document = {"agents": agents, "keep": sorted(policy.keep)}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def decode_policy(data: bytes) -> Policy:
    """Return the policy of a line or a file. Raise BadInput for anything that `encode_policy` does not write."""
    if len(data) > POLICY_LIMIT:
        raise BadInput(f"a policy of {len(data)} bytes, the limit is {POLICY_LIMIT}")
    try:
        return policy_of(json.loads(data))
    except (ValueError, RecursionError, OverflowError) as error:
        raise BadInput(f"no policy: {error}") from error


def policy_of(document: object) -> Policy:
    """Return the policy of a parsed document. Raise BadInput."""
    row = _exactly(document, {"agents": dict, "keep": list}, "policy")
    agents = {agent_name(name): _decode_agent(value, name) for name, value in row["agents"].items()}
    if not all(isinstance(name, str) for name in row["keep"]):
        raise BadInput("policy: keep is a list of names")
    keep = frozenset(map(agent_name, row["keep"]))
    if both := keep & agents.keys():
        raise BadInput(f"policy: {min(both)} is in agents and in keep")
    return Policy(MappingProxyType(agents), keep)


def _encode_agent(policy: AgentPolicy) -> dict[str, object]:
    return {
        "rules": [rule.text for rule in policy.rules],
        "grants": [{"rule": grant.rule.text, "until": float(grant.until)} for grant in policy.grants],
        "routes": sorted(policy.routes),
        "held": policy.held,
        "connections": policy.connections,
        "bytes_per_second": policy.bytes_per_second,
        "identity": policy.identity,
    }


_AGENT: Mapping[str, type | tuple[type, ...]] = {
    "rules": list,
    "grants": list,
    "routes": list,
    "held": str,
    "connections": int,
    "bytes_per_second": (int, type(None)),
    "identity": str,
}


def _decode_agent(value: object, name: str) -> AgentPolicy:
    row = _exactly(value, _AGENT, name)
    rules, routes = row["rules"], row["routes"]
    if len(rules) + len(row["grants"]) > RULES_LIMIT or not all(isinstance(text, str) for text in (*rules, *routes)):
        raise BadInput(f"{name}: rules and routes are lists of texts, at most {RULES_LIMIT}")
    if row["connections"] < 1 or (row["bytes_per_second"] is not None and row["bytes_per_second"] < 1):
        raise BadInput(f"{name}: limits are at least 1")
    if len(row["identity"]) > IDENTITY_LIMIT:
        raise BadInput(f"{name}: identity has more than {IDENTITY_LIMIT} characters")
    grants = [_exactly(grant, {"rule": str, "until": (int, float)}, name) for grant in row["grants"]]
    return AgentPolicy(
        tuple(_rule(text, name) for text in rules),
        tuple(Grant(_rule(grant["rule"], name), _time(grant["until"], name)) for grant in grants),
        frozenset(routes),
        row["held"],
        row["connections"],
        row["bytes_per_second"],
        row["identity"],
    )


def _rule(text: str, where: str) -> Rule:
    rule = parse_rule(text)
    if rule.text != text:
        raise BadInput(f"{where}: {text[:80]!r} has another spelling: {rule.text!r}")
    return rule


def _time(value: float, where: str) -> float:
    """Return a Unix time. What never comes would be a grant without an end."""
    if not 0 <= value < TIME_LIMIT:
        raise BadInput(f"{where}: until is no time")
    return float(value)


def _exactly(value: object, keys: Mapping[str, type | tuple[type, ...]], where: str) -> dict[str, Any]:
    """Return `value` if it is an object with exactly these keys, each of its type. Raise BadInput."""
    if not isinstance(value, dict) or value.keys() != keys.keys():
        raise BadInput(f"{where}: must have exactly {', '.join(keys)}")
    for key, kinds in keys.items():
        if not isinstance(value[key], kinds) or isinstance(value[key], bool):
            raise BadInput(f"{where}: {key} has the wrong type")
    return value
