"""What one agent may reach, with where each rule comes from. Pure.

Also the judgement of a rule that is to be allowed, and of a host that an agent asks for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput, Refused
from meta.model import NetworkGrant
from meta.names import AgentName
from meta.network.operator_file import OperatorFile
from meta.network.rule import ANY, Rule, beyond, is_address, parse_rule
from reconciler.network.policy import Operator, default_rules

AGENT_TOML = "agent.toml"
GRANT = "grant"
_INNER = (".corp", ".home", ".home.arpa", ".internal", ".intranet", ".lan", ".local", ".localdomain", ".private")
"""Ends of names that the public DNS does not have."""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule of an agent. `source`: `agent.toml`, `@group` of it, `runtime NAME`, or `grant`.

    A grant has its end in Unix seconds, and who gave it. `problem` says why the rule does not count, "" if it does.
    """

    rule: str
    source: str
    until: int | None = None
    by: str = ""
    problem: str = ""


def reach_of(
    agent: AgentName, settings: AgentSettings | None, operator: Operator, grants: Iterable[NetworkGrant], now: float
) -> tuple[RuleRow, ...]:
    """Return every rule of an agent, those of its configuration first. Grants that have ended are left out."""
    rows = []
    if settings is not None:
        for entry in settings.network.allow:
            rows += _entry(entry, operator)
        runtime = f"runtime {settings.runtime}"
        rows += [_row(rule, runtime, operator) for rule in default_rules(agent, settings, operator.file)]
    for grant in grants:
        if grant.until > now:
            rows.append(_grant(grant, operator))
    return tuple(rows)


def in_force(grants: Iterable[NetworkGrant], now: float) -> tuple[NetworkGrant, ...]:
    """Return the grants that have not ended, soonest end first."""
    return tuple(sorted((grant for grant in grants if grant.until > now), key=lambda grant: (grant.until, grant.rule)))


def within(grants: Iterable[NetworkGrant], operator: Operator) -> tuple[NetworkGrant, ...]:
    """Return the grants that count: the operator's ceiling, which may be newer, leaves them in force."""
    return tuple(grant for grant in grants if not _grant(grant, operator).problem)


def covering(rows: Sequence[RuleRow], host: str, port: int) -> RuleRow | None:
    """Return the rule that lets the agent reach a canonical host at a port; of several, the one that ends last."""
    matching = [row for row in rows if not row.problem and parse_rule(row.rule).covers(host, port)]
    return max(matching, key=lambda row: float("inf") if row.until is None else row.until, default=None)


def containing(rows: Sequence[RuleRow], rule: Rule) -> RuleRow | None:
    """Return a rule of the configuration that a whole rule is within; None if there is none."""
    for row in rows:
        if row.until is None and not row.problem and not beyond([rule], [parse_rule(row.rule)]):
            return row
    return None


def require_open(host: str, port: int | None, file: OperatorFile) -> None:
    """Raise Refused for what hive-egress reaches only if the operator named it. `port` None: any.

    That is an address of a private network, and a name that is this host by definition (RFC 6761).
    """
    if not (_is_this_host(host) or (is_address(host) and not ipaddress.ip_address(host).is_global)):
        return
    if _is_named(host, port, file):
        return
    raise Refused(
        f"{host} is an address of a private network, or of this host",
        "the operator names it with its port in `private` of network.toml first",
    )


def private_note(rule: Rule, file: OperatorFile) -> tuple[str, ...]:
    """Return a note for a rule of a name that looks like one of a private network, which `private` does not have."""
    host, port = rule.host.removeprefix("*."), rule.ports[0] if len(rule.ports) == 1 else None
    if host == ANY or is_address(host) or ("." in host and not host.endswith(_INNER)) or _is_named(host, port, file):
        return ()
    return (f"if {host} has a private address, it is refused until `private` of network.toml names it with its port",)


def _is_this_host(host: str) -> bool:
    name = host.removeprefix("*.")
    return name == "localhost" or name.endswith(".localhost")


def _is_named(host: str, port: int | None, file: OperatorFile) -> bool:
    return any(rule.host == host and (port is None or rule.covers(host, port)) for rule in file.private)


def _entry(entry: str, operator: Operator) -> list[RuleRow]:
    source = entry if entry.startswith("@") else AGENT_TOML
    try:
        return [_row(rule, source, operator) for rule in operator.file.expand([entry])]
    except BadInput as error:
        return [RuleRow(entry, source, problem=error.summary)]


def _row(rule: Rule, source: str, operator: Operator) -> RuleRow:
    return RuleRow(rule.text, source, problem=_beyond(rule, operator))


def _grant(grant: NetworkGrant, operator: Operator) -> RuleRow:
    try:
        problem = _beyond(parse_rule(grant.rule), operator)
    except BadInput as error:  # of a newer hive
        problem = error.summary
    return RuleRow(grant.rule, GRANT, grant.until, grant.by, problem)


def _beyond(rule: Rule, operator: Operator) -> str:
    return "beyond the operator's ceiling" if beyond([rule], operator.ceiling) else ""
