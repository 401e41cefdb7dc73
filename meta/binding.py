"""Where the dashboard listens, and its one origin: decided from the settings. Pure.

An origin is compared with a browser's as text, so it has one spelling: lower case, no path, no port that is the
scheme's own. Passkeys need a name, and a secure origin: https, or http on localhost.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from meta.config import Config
from meta.errors import BadInput, HiveError
from meta.network.rule import authority, canonical_host, is_address

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
LOOPBACK = ("127.0.0.1", "::1")
_SEE = "see docs/howto/dashboard-remote.md"
_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Binding:
    """The addresses and the port to listen on, and the origin by which browsers come.

    `certificate` and `key` are files, None without TLS. `behind_proxy`: a reverse proxy does TLS. The login header of
    `proxies` (addresses in their shortest form) counts.
    """

    addresses: tuple[str, ...]
    port: int
    origin: str
    certificate: str | None = None
    key: str | None = None
    behind_proxy: bool = False
    proxies: frozenset[str] = frozenset()

    @property
    def places(self) -> str:
        """Return the addresses with the port, for people."""
        return " and ".join(authority(address, self.port) for address in self.addresses)


def binding_of(config: Config) -> Binding | None:
    """Return where the dashboard listens; None if there is none. Raise BadInput for what would not be safe."""
    if not config.dashboard_port:
        return None
    address = _address(config.dashboard_address)
    tls = _has_tls(config)
    origin = origin_of(config)
    if not address.is_loopback:
        _check_reach(config, tls=tls)
    if tls and not origin.startswith("https:"):
        raise BadInput(f"the dashboard does TLS, and its origin is {origin}", f"set HIVE_DASHBOARD_ORIGIN; {_SEE}")
    if origin.startswith("https:") and not tls and not config.dashboard_behind_proxy:
        hint = f"set HIVE_DASHBOARD_TLS_CERT and _KEY, or HIVE_DASHBOARD_BEHIND_PROXY=1 if a proxy does it; {_SEE}"
        raise BadInput(f"nothing does TLS for the dashboard's origin {origin}", hint)
    return Binding(
        addresses=_addresses(address, origin),
        port=config.dashboard_port,
        origin=origin,
        certificate=config.dashboard_tls_cert or None,
        key=config.dashboard_tls_key or None,
        behind_proxy=config.dashboard_behind_proxy,
        proxies=_proxies(config),
    )


def origin_of(config: Config) -> str:
    """Return the origin in its one spelling. Raise BadInput if no browser could log in with a passkey there.

    Without a setting it is localhost, with TLS if there is a certificate.
    """
    text = config.dashboard_origin.strip()
    if not text:
        return f"http{'s' if config.dashboard_tls_cert else ''}://localhost:{config.dashboard_port}"
    match = _ORIGIN.fullmatch(text)
    try:
        if match is None or not text.isascii():  # a name in another script is written as xn--
            raise ValueError
        parts = urlsplit(text)
        host, port = canonical_host(parts.hostname or ""), parts.port
    except (ValueError, HiveError):
        raise BadInput(
            f"HIVE_DASHBOARD_ORIGIN={text!r} is no origin", "write https://NAME or https://NAME:PORT"
        ) from None
    if is_address(host):
        hint = "give the host a name: http://localhost:PORT, or https://NAME; " + _SEE
        raise BadInput(f"HIVE_DASHBOARD_ORIGIN={text!r} is an address, and passkeys need a name", hint)
    scheme = match[1].lower()
    if scheme == "http" and host != "localhost" and not host.endswith(".localhost"):
        hint = f"http is for localhost only; use https; {_SEE}"
        raise BadInput(f"HIVE_DASHBOARD_ORIGIN={text!r} is not secure", hint)
    return f"{scheme}://{host}" if port in (None, _PORTS[scheme]) else f"{scheme}://{host}:{port}"


def _address(text: str) -> IPAddress:
    if text == "localhost":
        return ipaddress.ip_address(LOOPBACK[0])
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        hint = "give an address of this host: 127.0.0.1, or that of your private network"
        raise BadInput(f"HIVE_DASHBOARD_ADDRESS={text!r} is no IP address", hint) from None


def _addresses(address: IPAddress, origin: str) -> tuple[str, ...]:
    """Return both loopback addresses for a browser's localhost: it tries either, and another could listen there."""
    local = urlsplit(origin).hostname or ""
    if str(address) in LOOPBACK and (local == "localhost" or local.endswith(".localhost")):
        return LOOPBACK
    return (str(address),)


def _has_tls(config: Config) -> bool:
    if bool(config.dashboard_tls_cert) != bool(config.dashboard_tls_key):
        missing = "KEY" if config.dashboard_tls_cert else "CERT"
        raise BadInput(f"HIVE_DASHBOARD_TLS_{missing} is missing", "TLS needs the certificate and its key")
    return bool(config.dashboard_tls_cert)


def _check_reach(config: Config, *, tls: bool) -> None:
    """Raise BadInput unless an address that others reach has TLS, and an origin for them."""
    where = f"HIVE_DASHBOARD_ADDRESS={config.dashboard_address}"
    if not tls and not config.dashboard_behind_proxy:
        hint = (
            "listen on 127.0.0.1, set HIVE_DASHBOARD_TLS_CERT and _KEY, or HIVE_DASHBOARD_BEHIND_PROXY=1 "
            f"if a proxy does TLS; {_SEE}"
        )
        raise BadInput(f"{where} is not loopback, and nothing does TLS", hint)
    if not config.dashboard_origin.strip():
        raise BadInput(f"{where} needs HIVE_DASHBOARD_ORIGIN", f"set it to the https://NAME of the dashboard; {_SEE}")


def _proxies(config: Config) -> frozenset[str]:
    try:
        proxies = frozenset(str(ipaddress.ip_address(each)) for each in config.dashboard_proxies.split())
    except ValueError as error:
        raise BadInput(f"HIVE_DASHBOARD_PROXIES: {error}", "list their addresses, separated by spaces") from None
    if config.dashboard_login_header and not (proxies and config.dashboard_behind_proxy):
        hint = "set HIVE_DASHBOARD_BEHIND_PROXY=1 and HIVE_DASHBOARD_PROXIES to the addresses of the proxies"
        raise BadInput("HIVE_DASHBOARD_LOGIN_HEADER would be believed from nobody", hint)
    return proxies
