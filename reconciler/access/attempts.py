"""The limit of refused logins, for each address that they come from."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil

from meta.errors import TransientError
from reconciler.common.token_bucket import MINUTE, Bucket

PER_MINUTE = 10
"""Refused logins from one address."""
_MOST = 1_000
"""Addresses that are told apart. Beyond that all begin anew together."""


class Attempts:
    """The refused logins of the last minute. What succeeds does not count. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._reported = -MINUTE
        self._unreported = 0

    def check(self, address: str) -> None:
        """Raise TransientError, with the seconds to wait, if too many logins from here were refused."""
        now = self._clock()
        bucket = self._buckets.get(network_of(address))
        wait = 0.0 if bucket is None else bucket.take(now, PER_MINUTE)[1]
        if wait:
            raise TransientError(
                "too many logins were refused", f"try again in {ceil(wait)} s", retry_after=float(ceil(wait))
            )

    def refuse(self, address: str) -> int:
        """Count a refused login. Return how many to report now, 0 if some were reported less than a minute ago."""
        now, key = self._clock(), network_of(address)
        if len(self._buckets) >= _MOST and key not in self._buckets:
            self._buckets.clear()
        self._buckets[key], _ = self._buckets.get(key, Bucket(float(PER_MINUTE), now)).take(now, PER_MINUTE)
        self._unreported += 1
        if now - self._reported < MINUTE:
            return 0
        count, self._unreported, self._reported = self._unreported, 0, now
        return count


def network_of(address: str) -> str:
    """Return what one person has: an IPv4 address, or the first 64 bits of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return parsed.packed[:8].hex()  # `exploded` raises for an address with a zone
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
