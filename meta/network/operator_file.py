"""The operator's file for the way out: `network.toml` in the state directory, or HIVE_NETWORK_FILE.

    private = ["registry.corp:443", "192.168.1.5:8080"]    # may resolve to a private or own address, at that port
    [hosts]                         # names that are not asked of a resolver
    "registry.corp" = "10.1.2.3"
    [groups]                        # `@python` in agent.toml
    python = ["pypi.org", "files.pythonhosted.org"]
    [limits]
    connections = 256               # of one agent at the same time
    bytes_per_second = 1000000      # of one agent, both ways together; without it there is no limit
    idle_seconds = 3600             # without a byte either way
    [credentials.anthropic]         # a key that stays outside: meta.network.routes
    kind = "anthropic"              # without it, the name
    file = "/etc/hive/anthropic-key"    # the key alone; readable by its owner only
    upstream = "https://api.anthropic.com"
    header = "x-api-key"
    value = "{key}"
    user = "x-access-token"
    agents = ["alice"]              # without it, all
    paths = ["POST /v1/messages"]   # prefixes

Both the daemon and `hive-egress` read it (meta.network.operator_watch), each for itself: a daemon that went wrong
cannot send a key elsewhere.
Standard library only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meta.errors import BadInput
from meta.network.credentials import NAME, parse_route
from meta.network.policy import CONNECTIONS
from meta.network.routes import Route
from meta.network.rule import Rule, canonical_host, is_address, parse_rule
from meta.network.tables import Table, named, number_at, require_known, table_at, texts_at

FILE = "network.toml"
FILE_LIMIT = 2**20
"""Bytes of the file."""
GROUP_LIMIT = 256
"""Rules of one group."""
IDLE_SECONDS = 3600.0
IDLE_LEAST = 900.0
"""A model may think for long without a byte: with less, turns would be paid twice."""

KEYS = ("private", "hosts", "groups", "limits", "credentials")
LIMITS = ("connections", "bytes_per_second", "idle_seconds")

_SEE = "see docs/reference/network.md"


@dataclass(frozen=True, slots=True)
class OperatorFile:
    """The file, checked. `hosts` are canonical names with their addresses; `private` are rules of one port each."""

    private: tuple[Rule, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    groups: Mapping[str, tuple[Rule, ...]] = field(default_factory=lambda: MappingProxyType({}))
    routes: Mapping[str, Route] = field(default_factory=lambda: MappingProxyType({}))
    connections: int = CONNECTIONS
    bytes_per_second: int | None = None
    idle_seconds: float = IDLE_SECONDS

    def kinds(self, agent: str) -> dict[str, str]:
        """Return the kind of each key that serves an agent by its name, in the order of the file."""
        return {name: route.kind for name, route in self.routes.items() if route.serves(agent)}

    def expand(self, entries: Iterable[str]) -> list[Rule]:
        """Return the rules of entries of agent.toml or of the ceiling. Raise BadInput for one that is none.

        An entry is a rule or `@group`.
        """
        rules: list[Rule] = []
        for entry in entries:
            if not entry.startswith("@"):
                rules.append(parse_rule(entry))
                continue
            group = self.groups.get(entry[1:])
            if group is None:
                known = ", ".join(f"@{name}" for name in sorted(self.groups)) or "none"
                raise BadInput(
                    f"{entry[:80]!r} is no group of this host (there are: {known})",
                    f"the operator adds it to [groups] in {FILE}, or name the hosts",
                )
            rules.extend(group)
        return list(dict.fromkeys(rules))


def parse_operator_file(data: bytes, where: str = FILE) -> OperatorFile:
    """Return the file's content. Raise BadInput with the key that is wrong."""
    if len(data) > FILE_LIMIT:
        raise BadInput(f"{where}: longer than {FILE_LIMIT} bytes")
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not TOML: {error}", "see https://toml.io; text needs quotes") from error
    try:
        return _file(table)
    except BadInput as error:
        raise BadInput(f"{where}: {error.summary}", error.hint or _SEE) from error


def ceiling_of(text: str, file: OperatorFile) -> tuple[Rule, ...] | None:
    """Return the rules of HIVE_NETWORK_CEILING, separated by spaces or commas; None if it is empty. Raise BadInput."""
    entries = text.replace(",", " ").split()
    return tuple(file.expand(entries)) if entries else None


def _file(table: Table) -> OperatorFile:
    _require_on_top(table)
    require_known(table, KEYS, "")
    limits = table_at(table, "limits")
    require_known(limits, LIMITS, "limits")
    return OperatorFile(
        private=tuple(_private(entry) for entry in texts_at(table, "private")),
        hosts=MappingProxyType(_hosts(table_at(table, "hosts"))),
        groups=MappingProxyType({name: _group(name, table_at(table, "groups")) for name in table_at(table, "groups")}),
        routes=MappingProxyType({name: parse_route(name, row) for name, row in table_at(table, "credentials").items()}),
        connections=number_at(limits, "connections", "limits", 1, 100_000) or CONNECTIONS,
        bytes_per_second=number_at(limits, "bytes_per_second", "limits", 1024, 10**12),
        idle_seconds=float(number_at(limits, "idle_seconds", "limits", int(IDLE_LEAST), 10**7) or IDLE_SECONDS),
    )


def _require_on_top(table: Table) -> None:
    """Raise BadInput for a list `private` below a [table]: TOML takes it for a key, or a group, of that one."""
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    keys = tables.get("credentials", {})
    tables |= {f"credentials.{name[:80]}": row for name, row in keys.items() if isinstance(row, dict)}
    for where, row in tables.items():
        if isinstance(row.get("private"), list):
            raise BadInput(
                f"{where}.private: `private` is no key of [{where}]",
                "write it at the beginning of the file, before the first [table]",
            )


def _private(entry: str) -> Rule:
    rule = named("private", parse_rule, entry)
    if ":" not in entry.rpartition("]")[2] or not rule.ports or "*" in rule.host:
        raise BadInput(f"private: {entry[:80]!r} must name one host and one port", "write registry.corp:443")
    return rule


def _hosts(table: Table) -> dict[str, str]:
    hosts: dict[str, str] = {}
    for name, value in table.items():
        where = f"hosts.{name[:80]}"
        if not isinstance(value, str):
            raise BadInput(
                f"{where}: must be an address", 'a name with dots needs quotes: "registry.corp" = "10.1.2.3"'
            )
        if not is_address(address := named(where, canonical_host, value)):
            raise BadInput(f"{where}: {value[:80]!r} must be an address, not a name")
        if is_address(host := named(where, canonical_host, name)):
            raise BadInput(f"{where}: must be the name of a host, not an address")
        if host in hosts:
            raise BadInput(f"{where}: is there twice, in two spellings")
        hosts[host] = address
    return hosts


def _group(name: str, table: Table) -> tuple[Rule, ...]:
    if not NAME.fullmatch(name):
        raise BadInput(f"groups.{name[:80]}: a group's name has a-z, 0-9 and -, at most 32")
    entries = texts_at(table, name, "groups")
    if len(entries) > GROUP_LIMIT:
        raise BadInput(f"groups.{name}: {len(entries)} rules, the limit is {GROUP_LIMIT}")
    return tuple(named(f"groups.{name}", parse_rule, entry) for entry in entries)
