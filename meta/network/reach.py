"""What an agent may reach by its agent.toml and the operator's file, and what the ceiling forbids. Pure.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from meta.errors import BadInput, Refused
from meta.network.operator_file import FILE, OperatorFile
from meta.network.policy import RULES_LIMIT
from meta.network.routes import model_route
from meta.network.rule import Rule, beyond, covers, parse_rule
from meta.network.runtime_hosts import runtime_rules

CEILING = "HIVE_NETWORK_CEILING"
COMPLAINT = "network.allow: "
"""Begins the summary of an error of `check_entries`: another file of the operator, or another ceiling, may mend it."""
GRANTS_ROOM = 64
"""Rules of one agent that are left to the operator's grants."""


@dataclass(frozen=True, slots=True)
class ReachSettings:
    """What agent.toml says about it: the runtime, the entries of `network.allow`, and `network.defaults`."""

    agent: str
    runtime: str
    entries: tuple[str, ...] = ()
    defaults: bool = True


@dataclass(frozen=True, slots=True)
class Reached:
    """A rule, and why the agent has it: an entry, a group (without its @), or the runtime as its own host."""

    rule: Rule
    group: str = ""
    runtime: str = ""


def key_outside(reach: ReachSettings, file: OperatorFile) -> str:
    """Return the name of the operator's key by which the runtime reaches its model, "" if there is none."""
    return model_route(reach.runtime, file.kinds(reach.agent))


def reached(reach: ReachSettings, file: OperatorFile) -> list[Reached]:
    """Return all rules, in the order of agent.toml, then those of the runtime. A group that is missing has none."""
    rules = [each for entry in reach.entries for each in _of_entry(entry, file)]
    if reach.defaults:
        own = runtime_rules(reach.runtime, key_outside=bool(key_outside(reach, file)))
        rules += [Reached(rule, runtime=reach.runtime) for rule in own]
    return rules


def is_reachable(
    reach: ReachSettings, file: OperatorFile, ceiling: Sequence[Rule] | None, host: str, port: int
) -> bool:
    """Return True if a rule within the ceiling covers a host and a port, or a git key serves the host."""
    for route in file.routes.values():
        if route.kind == "git" and route.serves(reach.agent) and _is_upstream(route.upstream, host, port):
            return True
    allowed = covers((each.rule for each in reached(reach, file)), host, port)
    return allowed and (ceiling is None or covers(ceiling, host, port))


def _is_upstream(upstream: str, host: str, port: int) -> bool:
    parts = urlsplit(upstream)
    return parts.hostname == host and port == (parts.port or (443 if parts.scheme == "https" else 80))


def unknown_groups(entries: Iterable[str], file: OperatorFile) -> list[str]:
    """Return the groups that the operator's file does not have, with their @."""
    return [entry for entry in entries if entry.startswith("@") and entry[1:] not in file.groups]


def check_entries(entries: Sequence[str], file: OperatorFile, ceiling: Sequence[Rule] | None) -> None:
    """Raise Refused if a group is missing, a rule is beyond the ceiling, or there are too many rules."""
    rules: list[Rule] = []
    for entry in entries:
        try:
            expanded = file.expand([entry])
        except BadInput as error:
            raise Refused(f"{COMPLAINT}{error.summary}", error.hint) from error
        if above := beyond(expanded, ceiling):
            shown = repr(entry) if entry == above[0].text else f"{above[0].text!r} of {entry!r}"
            limit = " ".join(rule.text for rule in ceiling or ()) or "nothing"
            raise Refused(
                f"{COMPLAINT}{shown} is beyond the operator's ceiling, which allows {limit[:500]}",
                f"leave it out; the operator's {CEILING} decides what any agent may reach",
            )
        rules += expanded
    most = RULES_LIMIT - GRANTS_ROOM
    if len(set(rules)) > most:
        raise Refused(
            f"{COMPLAINT}{len(set(rules))} rules with its groups expanded, the limit is {most}",
            f"name fewer or wider hosts, or the operator makes the groups of {FILE} smaller",
        )


def _of_entry(entry: str, file: OperatorFile) -> list[Reached]:
    if entry.startswith("@"):
        return [Reached(rule, group=entry[1:]) for rule in file.groups.get(entry[1:], ())]
    return [Reached(parse_rule(entry))]
