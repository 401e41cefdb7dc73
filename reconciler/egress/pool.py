"""Connections to the upstreams of routes, kept open between requests: a new one costs two or three round trips.

Each agent has its own. So what one agent does to a connection, no other agent's request meets.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from meta.network.rule import canonical_host
from meta.network.verdict import Verdict
from reconciler.egress.denial import Denied

KEPT = 8
"""Idle connections to one upstream, at most."""
IDLE_SECONDS = 60.0
DIAL_SECONDS = 10.0
"""Seconds for one address, TLS included."""
ADDRESSES = 4
"""Addresses of an upstream that are tried, one after the other."""
CHUNK = 65_536

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Return the addresses of a host, unchecked. Raise Denied."""


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
    """The connections of one agent.

    `may_be_plain` returns True for a host and port that the operator lists as `private`: only those, and loopback, get
    a key without TLS.
    """

    def __init__(
        self,
        resolve: Resolve,
        may_be_plain: Callable[[str, int], bool],
        trust: Callable[[], ssl.SSLContext] = system_trust,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._resolve = resolve
        self._may_be_plain = may_be_plain
        self._trust = trust
        self._idle_seconds = idle_seconds
        self._idle: dict[str, list[Upstream]] = {}

    async def take(self, address: str, *, fresh: bool = False) -> Upstream:
        """Return a connection to `https://HOST[:PORT]`, a kept one unless `fresh`. Raise Denied."""
        idle = self._idle.get(address, [])
        while idle and not fresh:
            upstream = idle.pop()
            if upstream.timer is not None:
                upstream.timer.cancel()
            if upstream.is_usable:
                return upstream
            upstream.abort()
        return await self._dial(address)

    def give(self, upstream: Upstream) -> None:
        """Keep a connection whose last answer was read to its end."""
        idle = self._idle.setdefault(upstream.address, [])
        if len(idle) >= KEPT or not upstream.is_usable:
            upstream.abort()
            return
        upstream.kept = True
        upstream.timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._drop, upstream)
        idle.append(upstream)

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

    async def _dial(self, address: str) -> Upstream:
        is_tls, host, port = parse_upstream(address)
        reason = "no address"
        for numeric in (await self._resolve(host, port))[:ADDRESSES]:
            if not is_tls and not ip_address(numeric).is_loopback and not self._may_be_plain(host, port):
                reason = "a key goes without TLS to loopback and to `private` hosts only"
                continue
            try:
                async with asyncio.timeout(DIAL_SECONDS):
                    streams = await asyncio.open_connection(
                        numeric,
                        port,
                        limit=CHUNK,
                        ssl=self._trust() if is_tls else None,
                        server_hostname=host if is_tls else None,
                    )
            except ssl.SSLCertVerificationError as error:
                reason = f"its certificate is not trusted: {error.verify_message}"
            except TimeoutError:
                reason = f"no answer in {DIAL_SECONDS:g} s"
            except OSError as error:
                reason = error.strerror or type(error).__name__
            else:
                return Upstream(address, *streams)
        raise Denied(Verdict.UNREACHABLE, f"{host}:{port}-does-not-answer ({_ascii(reason)})")


def parse_upstream(address: str) -> tuple[bool, str, int]:
    """Return of `https://HOST[:PORT]` whether it is TLS, its canonical host, and its port."""
    parts = urlsplit(address)
    is_tls = parts.scheme == "https"
    return is_tls, canonical_host(parts.hostname or ""), parts.port or (443 if is_tls else 80)


def _ascii(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)[:200]
