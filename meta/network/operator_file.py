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

Both the daemon and `hive-egress` read it, each for itself: a daemon that went wrong cannot send a key elsewhere.
Standard library only.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import urlsplit

from meta.errors import BadInput
from meta.names import ALL
from meta.network.policy import CONNECTIONS
from meta.network.routes import KINDS, Route
from meta.network.rule import Rule, canonical_host, is_address, parse_rule

FILE = "network.toml"
FILE_LIMIT = 2**20
"""Bytes of the file."""
IDLE_SECONDS = 3600.0
IDLE_LEAST = 900.0
"""A model may think for long without a byte: with less, turns would be paid twice."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_PATH = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE) (/[!-~]*)")
_HEADER = re.compile(r"[a-z0-9-]{1,64}")
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


def default_file(state: Path) -> Path:
    """Return the file's path if HIVE_NETWORK_FILE is not set."""
    return state / FILE


def _file(table: Mapping[str, Any]) -> OperatorFile:
    _known(table, ("private", "hosts", "groups", "limits", "credentials"), "")
    limits = _table(table, "limits", "")
    _known(limits, ("connections", "bytes_per_second", "idle_seconds"), "limits")
    return OperatorFile(
        private=tuple(_private(entry) for entry in _texts(table, "private", "")),
        hosts=MappingProxyType(dict(_host(name, value) for name, value in _table(table, "hosts", "").items())),
        groups=MappingProxyType({name: _group(name, value) for name, value in _table(table, "groups", "").items()}),
        routes=MappingProxyType({name: _route(name, row) for name, row in _table(table, "credentials", "").items()}),
        connections=_number(limits, "connections", CONNECTIONS, 1, 100_000) or CONNECTIONS,
        bytes_per_second=_number(limits, "bytes_per_second", None, 1024, 10**12),
        idle_seconds=float(_number(limits, "idle_seconds", int(IDLE_SECONDS), int(IDLE_LEAST), 10**7) or IDLE_SECONDS),
    )


def _private(entry: str) -> Rule:
    rule = parse_rule(entry)
    if ":" not in entry.rpartition("]")[2] or not rule.ports or "*" in rule.host:
        raise BadInput(f"private: {entry[:80]!r} must name one host and one port", "write registry.corp:443")
    return rule


def _host(name: str, value: object) -> tuple[str, str]:
    if not isinstance(value, str) or not is_address(address := canonical_host(value)):
        raise BadInput(f"hosts.{name[:80]}: must be an address")
    if is_address(host := canonical_host(name)):
        raise BadInput(f"hosts.{name[:80]}: must be the name of a host")
    return host, address


def _group(name: str, value: object) -> tuple[Rule, ...]:
    if not _NAME.fullmatch(name):
        raise BadInput(f"groups.{name[:80]}: a group's name has a-z, 0-9 and -, at most 32")
    return tuple(map(parse_rule, _texts({name: value}, name, "groups.")))


def _route(name: str, row: object) -> Route:
    where = f"credentials.{name[:80]}"
    if not _NAME.fullmatch(name):
        raise BadInput(f"{where}: a name has a-z, 0-9 and -, at most 32: it becomes a part of a path")
    if not isinstance(row, dict):
        raise BadInput(f"{where}: must be a table")
    _known(row, ("kind", "file", "upstream", "header", "value", "user", "agents", "paths"), where)
    kind = _text(row, "kind", name, where)
    form = KINDS.get(kind)
    if form is None:
        raise BadInput(f"{where}.kind: {kind[:80]!r} is no kind; there are {', '.join(KINDS)}")
    file = _text(row, "file", "", where)
    if not file.startswith("/"):
        raise BadInput(f"{where}.file: must be the absolute path of the file with the key")
    header = _text(row, "header", form.header, where).lower()
    value = _text(row, "value", form.value, where)
    if not _HEADER.fullmatch(header) or header in ("host", "connection", "content-length", "transfer-encoding"):
        raise BadInput(f"{where}.header: {header[:80]!r} is no header for a key")
    if "{key}" not in value or not value.isprintable() or not value.isascii():
        raise BadInput(f"{where}.value: must contain {{key}}, in ASCII")
    agents = frozenset(_texts(row, "agents", f"{where}.")) if "agents" in row else frozenset({ALL})
    return Route(
        name,
        kind,
        _upstream(_text(row, "upstream", form.upstream, where), where),
        file,
        header,
        value,
        tuple(_path(text, where) for text in _texts(row, "paths", f"{where}.")) if "paths" in row else form.paths,
        agents,
        _text(row, "user", "x-access-token", where),
    )


def _upstream(text: str, where: str) -> str:
    parts = urlsplit(text)
    try:
        fine = parts.scheme in ("https", "http") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BadInput(f"{where}.upstream: must be https://HOST or https://HOST:PORT", _SEE)
    canonical_host(parts.hostname or "")
    return text.removesuffix("/")


def _path(text: str, where: str) -> tuple[str, str]:
    match = _PATH.fullmatch(text)
    if match is None:
        raise BadInput(f"{where}.paths: {text[:80]!r} must be like 'POST /v1/messages'")
    return match[1], match[2]


def _known(table: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    for key in table:
        if key not in keys:
            place = f"{where}.{key[:80]}" if where else key[:80]
            raise BadInput(f"{place}: unknown key; there are {', '.join(keys)}")


def _table(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise BadInput(f"{where}{key}: must be a table")
    return value


def _texts(table: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise BadInput(f"{where}{key}: must be a list of texts")
    return cast("list[str]", value)


def _text(table: Mapping[str, Any], key: str, default: str, where: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise BadInput(f"{where}.{key}: must be text")
    return value


def _number(table: Mapping[str, Any], key: str, default: int | None, least: int, most: int) -> int | None:
    value = table.get(key, default)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"limits.{key}: must be a whole number from {least} to {most}")
    return value
