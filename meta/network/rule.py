"""Hosts and rules: what an agent may reach. Pure; standard library only, because `hive-egress` imports it.

    api.anthropic.com          that host, ports 443 and 80
    *.github.com               each host below it, not github.com itself
    git.example.org:22         one port
    registry.example:*         every port
    192.0.2.7:443  [2001:db8::1]:443      an address; `*` never covers one
    *  *:443                   every name

A host in a rule and a host in a request are spelled in one way (`canonical_host`), so that they can be compared as
text: lower case, ASCII (names in other scripts as `xn--`), no dot at the end, addresses in their shortest form. What a
resolver would read as an address in another spelling (`0x7f.1`, `2130706433`, `127.1`) is neither.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from meta.errors import BadInput

WEB_PORTS = (443, 80)
"""The ports of a rule that names none."""
ANY = "*"
HOST_LIMIT = 253
"""Characters of a name: RFC 1035."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes a resolver read the whole as an IPv4 address (the URL standard's "ends in a number")."""
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_SEE = "see docs/reference/network.md"
_SHOWN = 80


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """A host that may be reached: `name`, `*.name`, `*`, or an address. `ports` is sorted; empty: every port."""

    host: str
    ports: tuple[int, ...] = tuple(sorted(WEB_PORTS))

    def covers(self, host: str, port: int) -> bool:
        """Return True if a canonical host and a port are within the rule."""
        return (not self.ports or port in self.ports) and _covers_host(self.host, host)

    @property
    def is_address(self) -> bool:
        """Return True for a rule of one address."""
        return is_address(self.host)

    @property
    def text(self) -> str:
        """Return the shortest text that parses as this rule."""
        host = bracketed(self.host)
        if self.ports == tuple(sorted(WEB_PORTS)):
            return host
        return f"{host}:{self.ports[0] if self.ports else ANY}"


def parse_rule(text: str) -> Rule:
    """Return the rule of a text. Raise BadInput with what is wrong and what to write instead."""
    host, ports = _split(text)
    if host == ANY:
        return Rule(ANY, ports)
    wild = host.startswith("*.")
    name = _canonical(host[2:] if wild else host, text)
    if wild and is_address(name):
        raise BadInput(f"{_quote(text)} is no rule: an address has no hosts below it", _SEE)
    return Rule(f"*.{name}" if wild else name, ports)


def canonical_host(text: str) -> str:
    """Return the host of a request in its one spelling; IPv6 with or without brackets. Raise BadInput."""
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1], text)
    return _canonical(text.removesuffix(".") if ":" not in text else text, text)


def bracketed(host: str) -> str:
    """Return a canonical host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def authority(host: str, port: int) -> str:
    """Return a canonical host and its port as text (RFC 3986), which is the narrowest rule for them, too."""
    return f"{bracketed(host)}:{port}"


def is_address(host: str) -> bool:
    """Return True if a canonical host is an address, not a name."""
    return ":" in host or host.replace(".", "").isdigit()


def covers(rules: Iterable[Rule], host: str, port: int) -> bool:
    """Return True if one of the rules covers a canonical host and a port."""
    return any(rule.covers(host, port) for rule in rules)


def beyond(rules: Iterable[Rule], ceiling: Iterable[Rule] | None) -> list[Rule]:
    """Return the rules that are not wholly within the ceiling. None: there is no ceiling."""
    return [] if ceiling is None else [rule for rule in rules if not _within(rule, list(ceiling))]


def _within(rule: Rule, ceiling: list[Rule]) -> bool:
    above = [other for other in ceiling if _contains_host(other.host, rule.host)]
    if any(not other.ports for other in above):
        return True
    return bool(rule.ports) and all(any(port in other.ports for other in above) for port in rule.ports)


def _contains_host(above: str, host: str) -> bool:
    """Return True if every host that `host` stands for is one that `above` stands for."""
    if host == ANY or above == ANY:
        return above == ANY and not is_address(host)
    return above == host or (above.startswith("*.") and not is_address(host) and host.endswith(above[1:]))


def _covers_host(pattern: str, host: str) -> bool:
    if pattern == host:
        return True
    if is_address(host):
        return False
    return pattern == ANY or (pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) > len(pattern) - 1)


def _split(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the host of `host`, `host:port`, `[address]:port`, and the ports."""
    if "/" in text:
        raise BadInput(f"{_quote(text)} is no rule", "write the host alone, without https://, a path or a network")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadInput(f"{_quote(text)} is no rule: after ']' comes a port or nothing", _SEE)
        return _ipv6(host, text), _ports(rest[1:], text) if rest else tuple(sorted(WEB_PORTS))
    if text.count(":") > 1:
        raise BadInput(f"{_quote(text)} is no rule", f"write an IPv6 address in brackets: [2001:db8::1]:443; {_SEE}")
    host, colon, port = text.partition(":")
    return host, _ports(port, text) if colon else tuple(sorted(WEB_PORTS))


def _ports(text: str, whole: str) -> tuple[int, ...]:
    if text == ANY:
        return ()
    if not _PORT.fullmatch(text) or int(text) > 65_535:
        raise BadInput(f"{_quote(whole)}: {_quote(text)} is no port", "a port is 1 to 65535, or * for every one")
    return (int(text),)


def _canonical(name: str, text: str) -> str:
    if ":" in name:
        return _ipv6(name, text)
    if not name.isascii():
        raise BadInput(f"{_quote(text)} is not ASCII", _ascii_remedy(name))
    name = name.lower()
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name, text)
    if len(name) > HOST_LIMIT or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadInput(f"{_quote(text)} is no host", f"write a name like api.example.org, or *.example.org; {_SEE}")
    return name


def _ipv4(name: str, text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError as error:
        raise BadInput(
            f"{_quote(text)} is an address in an odd spelling", "write four numbers without leading zeros: 192.0.2.7"
        ) from error


def _ipv6(name: str, text: str) -> str:
    try:
        address = ipaddress.IPv6Address(name)
    except ValueError as error:
        raise BadInput(f"{_quote(text)} is no address", f"write it like [2001:db8::1]:443; {_SEE}") from error
    if address.scope_id is not None:
        raise BadInput(f"{_quote(text)} has a zone", "an address of one link only is never reached; leave `%...` out")
    if address.ipv4_mapped is not None:
        raise BadInput(f"{_quote(text)} is an IPv4 address within IPv6", f"write {address.ipv4_mapped}")
    return str(address)


def _ascii_remedy(name: str) -> str:
    """Return the name in ASCII, unless other names are written so too: the codec makes `strasse` of `straße`."""
    try:
        text = name.encode("idna").decode("ascii") if len(name) <= HOST_LIMIT else ""
        if text and text.encode("ascii").decode("idna") == name:
            return f"write it as {text}"
    except UnicodeError:
        pass
    return f"write the name in ASCII (xn--...); {_SEE}"


def _quote(text: str) -> str:
    return repr(text[:_SHOWN])
