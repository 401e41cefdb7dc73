"""The bounds of everything that an agent's socket says, and the pace of an agent's bytes."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable

HEAD_LIMIT = 16 * 1024
"""Bytes of the head of a CONNECT."""
HEAD_SECONDS = 30.0
"""For the head of a request."""
HELLO_LIMIT = 64 * 1024
"""Bytes of a ClientHello with the headers of its records. The longest seen, with post-quantum keys, has 4 KiB."""
HELLO_SECONDS = 30.0
ANSWER_SECONDS = 10.0
"""For a client to take the answer that it is refused."""
DIAL_SECONDS = 20.0
"""For a connection outside, its place in the line and the resolver included."""
RESOLVE_SECONDS = 12.0
"""For the addresses of a name."""
ADDRESSES_CHECKED = 32
"""Addresses of one name; those beyond are not looked at. A check is a few calls of the kernel."""
ADDRESSES_TRIED = 8
ADDRESS_HEAD_START = 0.25
"""Seconds before the next address of a name is tried beside the one before (RFC 8305)."""
DIALS_PER_AGENT = 32
"""Connections that are being made at the same time; the next ones of the same agent wait."""
RESOLUTIONS_PER_AGENT = 8
"""Threads that ask the resolver for one agent. A resolver that hangs holds these and no other agent's."""
RESOLUTIONS = 32
"""Such threads of all agents. Beyond it each agent still has one: TasksMax of the unit leaves room for these."""
WORKERS = 4
"""Threads that write to the state directory."""
HALF_OPEN_SECONDS = 900.0
"""Without a byte, after one side has ended its part."""
CHUNK = 128 * 1024
"""Bytes that are carried at once."""
SMALL_CHUNK = 16 * 1024
_LEAST_CHUNK = 1024
STALLED_LIMIT = 4 * 2**20
"""Bytes of one agent's tunnels that wait for slow peers. Beyond it every chunk of this agent is a small one."""
STREAM_LIMIT = 16 * 1024
"""Bytes of a connection that is HTTP, read ahead of what is looked at. The reader holds twice as many."""
REFUSED_SHOWN = 20
"""Hosts that an agent is told of as refused, of hundreds that it may have asked for."""
ACCEPTS_PER_SECOND = 400.0
ACCEPTS_AT_ONCE = 2000.0
"""New connections of one agent. Those beyond wait in the kernel, so that one agent's do not take all the time."""
REFUSED_AT_ONCE = 32
"""Connections beyond an agent's limit that get an answer. Those beyond it are closed at once."""
LINES_PER_SECOND = 10.0
LINES_AT_ONCE = 200.0
"""Lines of the log about one agent. What is beyond is counted in one line."""


class Pace:
    """One agent's bytes per second: a token bucket of one second. It may be overdrawn by one chunk."""

    def __init__(self, rate: Callable[[], int | None], clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._left = 0.0
        self._at = clock()

    def chunk(self) -> int:
        """Return how many bytes to carry at once: a small rate gets small chunks, so that it stays even."""
        rate = self._rate()
        return CHUNK if rate is None else min(CHUNK, max(_LEAST_CHUNK, rate // 4))

    def take(self, count: int) -> float:
        """Take bytes that were carried. Return the seconds to wait before the next ones."""
        rate = self._rate()
        if rate is None:
            return 0.0
        now = self._clock()
        self._left = min(float(rate), self._left + (now - self._at) * rate) - count
        self._at = now
        return max(0.0, -self._left / rate)

    async def wait(self, count: int) -> None:
        """Take bytes, and wait until more may be carried."""
        if seconds := self.take(count):
            await asyncio.sleep(seconds)


class Rate:
    """A token bucket for things that happen one by one."""

    def __init__(self, per_second: float, most: float, now: float) -> None:
        self._per_second = per_second
        self._most = most
        self._left = most
        self._at = now

    def take(self, now: float) -> float:
        """Take one. Return 0.0, or the seconds until there is one again."""
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._per_second
        self._left -= 1
        return 0.0


def raise_open_files() -> int:
    """Raise the limit of open files to the hard one. Return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
