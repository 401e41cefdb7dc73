"""The user whom a reverse proxy has logged in. Its header counts only from the addresses that the operator named."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from api.http.asgi import Scope
from api.ui.access.headers import values
from meta.binding import binding_of
from meta.config import Config
from meta.errors import BadInput
from reconciler.access.rules import user_name

Address = IPv4Address | IPv6Address
FORWARDED = b"x-forwarded-for"


@dataclass(frozen=True, slots=True)
class Proxies:
    """The trusted proxies, and the header in which they name the user. Without a header none is believed."""

    addresses: frozenset[Address] = frozenset()
    header: bytes = b""

    @classmethod
    def of(cls, config: Config) -> Proxies:
        """Return what the settings say. Raise BadInput for a header that anybody could send."""
        binding = binding_of(config)
        if binding is None or not binding.behind_proxy:
            return cls()
        return cls(frozenset(map(ip_address, binding.proxies)), config.dashboard_login_header.lower().encode())

    def client(self, scope: Scope) -> str:
        """Return the address that a request came from: for limits and events only. A trusted proxy names its client."""
        here = peer(scope)
        if here in self.addresses:
            named = ",".join(values(scope, FORWARDED)).rpartition(",")[2].strip()  # what clients send stands before it
            with contextlib.suppress(ValueError):
                return str(ip_address(named))
        return "" if here is None else str(here)

    def user(self, scope: Scope) -> str:
        """Return the user whom a trusted proxy names; "" if none does. Raise BadInput if it names no user or two."""
        if not self.header or peer(scope) not in self.addresses:
            return ""
        named = [value for value in values(scope, self.header) if value]
        if len(named) > 1:
            raise BadInput("the proxy's login header is there twice", "let the proxy remove that of its clients")
        return user_name(named[0]) if named else ""


def peer(scope: Scope) -> Address | None:
    """Return the address of the peer; None if it has none. A mapped IPv4 address is the IPv4 address."""
    client = scope.get("client")
    try:
        address = ip_address(client[0]) if client else None
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
