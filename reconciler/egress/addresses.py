"""Which addresses may be dialled. Every address outside the global internet is refused unless the operator names it."""

from __future__ import annotations

import ipaddress

from reconciler.egress.own_address import is_own

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_V4 = tuple(
    (ipaddress.IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.169.254/32", "metadata"),
        ("169.254.0.0/16", "link-local"),
        ("168.63.129.16/32", "metadata"),  # of Azure: a public address that only its own machines reach
        ("100.100.100.200/32", "metadata"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "shared"),
        ("192.0.0.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6 = tuple(
    (ipaddress.IPv6Network(network), what)
    for network, what in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fd00:ec2::254/128", "metadata"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved"),  # Teredo has an IPv4 address within
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER = frozenset({"unspecified", "multicast", "broadcast"})
"""Kinds that the operator's `private` does not open either."""


def refusal(address: str, port: int, *, private: bool) -> str:
    """Return why an address is not dialled: a word like `loopback`; "" if it may be.

    `private`: the operator named the host and port, so that it may be private or one of this host's own.
    """
    kind = kind_of(address)
    if kind and not (private and kind not in _NEVER):
        return kind
    return "" if private or not is_own(address, port) else "own"


def kind_of(address: str) -> str:
    """Return the kind of an address that is not global, "" for a global one. IPv4 within IPv6 counts as itself."""
    if "%" in address:
        return "link-local"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unspecified"
    if isinstance(parsed, ipaddress.IPv4Address):
        return _kind_v4(parsed)
    embedded = _embedded(parsed)
    return _kind_v4(embedded) if embedded is not None else _kind_v6(parsed)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that a gateway or the kernel would go on to."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _kind_v4(address: ipaddress.IPv4Address) -> str:
    if int(address) == 0xFFFF_FFFF:
        return "broadcast"
    for network, what in _V4:
        if address in network:
            return what
    return "" if address.is_global else "reserved"


def _kind_v6(address: ipaddress.IPv6Address) -> str:
    for network, what in _V6:
        if address in network:
            return what
    return "" if address in _GLOBAL_V6 and address.is_global else "reserved"
