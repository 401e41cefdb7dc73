"""Which addresses are this host's own. The kernel is asked; nothing is sent."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from pathlib import Path

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HEADER = struct.Struct("=IHHII")
"""Of a netlink message: length, type, flags, number, port."""
_ROUTE = struct.Struct("=BBBBBBBBI")
"""Of a route: family, destination length, source length, TOS, table, protocol, scope, type, flags."""
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_RTM_NEWROUTE = 24
_RTM_GETROUTE = 26
_RTA_DST = 1
_TYPE_FIELD = 7
_OWN_TYPES = frozenset({2, 3, 4})
"""RTN_LOCAL, RTN_BROADCAST and RTN_ANYCAST: this host receives what is sent to such an address."""
_NOWHERE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES})
"""There is no route, an `unreachable` one, or a `prohibit` one."""


def is_own(address: str, port: int) -> bool:
    """Return True for an address of this host.

    The route says it for every address. The unit of hive-egress may not bind, so the probes that bind are only for
    a host that does not answer about its routes.
    """
    if _sends_to_itself(address, port):
        return True
    routed = _is_routed_here(address)
    return _is_bindable(address) if routed is None else routed


def _is_routed_here(address: str) -> bool | None:
    """Return whether the route to an address ends at this host. None if the kernel does not say."""
    parsed = _unmapped(address)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
            kernel.sendto(_question(parsed), (0, 0))
            answer = kernel.recv(8192, socket.MSG_DONTWAIT)  # the kernel answers before `sendto` returns
    except OSError:
        return None
    return _read(answer)


def _question(address: _Address) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    route = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    destination = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _RTA_DST) + address.packed
    length = _HEADER.size + len(route) + len(destination)
    return _HEADER.pack(length, _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + route + destination


def _read(answer: bytes) -> bool | None:
    if len(answer) < _HEADER.size + _ERROR.size:
        return None
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        (code,) = _ERROR.unpack_from(answer, _HEADER.size)
        return False if -code in _NOWHERE else None
    if kind != _RTM_NEWROUTE or len(answer) < _HEADER.size + _ROUTE.size:
        return None
    return _ROUTE.unpack_from(answer, _HEADER.size)[_TYPE_FIELD] in _OWN_TYPES


def _sends_to_itself(address: str, port: int) -> bool:
    """Return True if the kernel would send from the address to itself. It does not to an interface's further ones."""
    try:
        with _datagram_socket(address) as probe:
            probe.connect((address, port))
            source = ipaddress.ip_address(str(probe.getsockname()[0]).partition("%")[0])
    except OSError:
        return False  # there is no way to it, so it is not here
    return source.is_loopback or source == ipaddress.ip_address(address)


def _is_bindable(address: str) -> bool:
    try:
        with _datagram_socket(address) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return not _binds_any(6 if ":" in address else 4)


def _binds_any(version: int) -> bool:
    """Return True if this host lets programs bind addresses that are not its own."""
    try:
        return Path(f"/proc/sys/net/ipv{version}/ip_nonlocal_bind").read_text().strip() != "0"
    except OSError:
        return False


def _datagram_socket(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _unmapped(address: str) -> _Address:
    """Return the address that the kernel goes to: an IPv4 one within IPv6 is sent to as IPv4."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return parsed if mapped is None else mapped
