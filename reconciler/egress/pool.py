"""Connections to the upstreams of routes, kept open between requests: a new one costs two or three round trips.

Each agent has its own. So what one agent does to a connection, no other agent's request meets.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from meta.network.rule import authority, canonical_host

RESENDS = 16 * 2**20
"""Bytes of bodies that the requests of one agent keep, together, to be sent again."""
KEPT = 8
"""Idle connections to one upstream, at most."""
IDLE_SECONDS = 60.0
TLS_SECONDS = 20.0
CHUNK = 65_536

Dial = Callable[[str, int], Awaitable[socket.socket]]
"""Connect to a host and port that the operator's file names."""


class Unreachable(Exception):
    """There is no connection to an upstream. Its text is one line of ASCII for the agent."""


@dataclass(slots=True)
class Upstream:
    """A connection. `kept`: it carried a request before, so the other side may have ended it meanwhile."""

    address: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    kept: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def is_usable(self) -> bool:
        """Return False if the other side ended it, or sent bytes that belong to no request."""
        transport = self.writer.transport
        # the only way to look at what a StreamReader has without taking it
        return not (transport.is_closing() or self.reader.at_eof() or self.reader._buffer)  # type: ignore[attr-defined]

    def abort(self) -> None:
        """End the connection at once: the upstream stops working on an answer."""
        self.writer.transport.abort()


@functools.cache
def system_trust() -> ssl.SSLContext:
    """Return what checks certificates by the system's CAs, or those of SSL_CERT_FILE. Loaded once: it takes 20 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Upstreams:
    """The connections of one agent."""

    def __init__(
        self, dial: Dial, trust: Callable[[], ssl.SSLContext] = system_trust, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._dial = dial
        self._trust = trust
        self._idle_seconds = idle_seconds
        self._idle: dict[str, list[Upstream]] = {}
        self._spare = RESENDS

    async def take(self, address: str, *, fresh: bool = False) -> Upstream:
        """Return a connection to `https://HOST[:PORT]`, a kept one unless `fresh`. Raise Unreachable."""
        idle = self._idle.get(address, [])
        while idle and not fresh:
            upstream = idle.pop()
            if upstream.timer is not None:
                upstream.timer.cancel()
            if upstream.is_usable:
                return upstream
            upstream.abort()
        return await self._connect(address)

    def give(self, upstream: Upstream) -> None:
        """Keep a connection whose last answer was read to its end."""
        idle = self._idle.setdefault(upstream.address, [])
        if len(idle) >= KEPT or not upstream.is_usable:
            upstream.abort()
            return
        upstream.kept = True
        upstream.timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._drop, upstream)
        idle.append(upstream)

    def keep(self, count: int) -> bool:
        """Count bytes of a body that are kept. Return False if there are too many already: they are not kept."""
        if count > self._spare:
            return False
        self._spare -= count
        return True

    def release(self, count: int) -> None:
        """Count bytes that are kept no longer."""
        self._spare += count

    def close(self) -> None:
        """End the kept connections."""
        for upstream in [each for idle in self._idle.values() for each in idle]:
            self._drop(upstream)

    def _drop(self, upstream: Upstream) -> None:
        if upstream.timer is not None:
            upstream.timer.cancel()
        idle = self._idle.get(upstream.address, [])
        if upstream in idle:
            idle.remove(upstream)
        if not idle:
            self._idle.pop(upstream.address, None)
        upstream.abort()

    async def _connect(self, address: str) -> Upstream:
        is_tls, host, port = parse_upstream(address)
        connection = await self._dial(host, port)
        try:
            if not is_tls and ip_address(connection.getpeername()[0]).is_global:
                raise Unreachable(f"{authority(host, port)}-is-outside (a key goes there with TLS only)")
            async with asyncio.timeout(TLS_SECONDS):
                streams = await asyncio.open_connection(
                    sock=connection,
                    limit=CHUNK,
                    ssl=self._trust() if is_tls else None,
                    server_hostname=host if is_tls else None,
                )
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise Unreachable(f"{authority(host, port)}-does-not-answer ({_reason(error)})") from error
            raise
        return Upstream(address, *streams)


def parse_upstream(address: str) -> tuple[bool, str, int]:
    """Return of `https://HOST[:PORT]` whether it is TLS, its canonical host, and its port."""
    parts = urlsplit(address)
    is_tls = parts.scheme == "https"
    return is_tls, canonical_host(parts.hostname or ""), parts.port or (443 if is_tls else 80)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"its certificate is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        text = "no TLS"
    else:
        text = error.strerror or ("no TLS in time" if isinstance(error, TimeoutError) else "it broke off")
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:200]
