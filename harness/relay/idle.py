"""The open connections of a relay, and which of them is closed if a new one needs its place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

UNUSED_SECONDS = 5.0
"""Seconds after which a connection on which no request began may be closed."""
ANSWERED_SECONDS = 120.0
"""Seconds without a byte after which a connection may be closed whose last bytes were of an answer."""


class Connection:
    """When one connection last carried bytes, and whether they were of a request."""

    def __init__(self, task: asyncio.Task[Any] | None, now: float) -> None:
        self.at = now
        self.used = self.asked = False
        self._task = task

    def close(self) -> None:
        """End the task that serves it."""
        if self._task is not None:
            self._task.cancel()

    def carry(self, *, request: bool) -> None:
        """Record bytes of a request, or of an answer."""
        self.at = asyncio.get_running_loop().time()
        self.used, self.asked = True, request


class Connections:
    """The open connections. `unused` and `answered`: see UNUSED_SECONDS and ANSWERED_SECONDS."""

    def __init__(self, unused: float = UNUSED_SECONDS, answered: float = ANSWERED_SECONDS) -> None:
        self._unused = unused
        self._answered = answered
        self._open: set[Connection] = set()

    @contextlib.contextmanager
    def add(self) -> Iterator[Connection]:
        """Keep the connection that the current task serves inside the block."""
        connection = Connection(asyncio.current_task(), asyncio.get_running_loop().time())
        self._open.add(connection)
        try:
            yield connection
        finally:
            self._open.discard(connection)

    def close_idle(self) -> bool:
        """Close the connection that is idle for longest. Return False if each is in use, or was a moment ago."""
        now = asyncio.get_running_loop().time()
        idle = [each for each in self._open if not each.asked and now - each.at >= self._seconds(each)]
        if not idle:
            return False
        longest = min(idle, key=lambda each: each.at)
        self._open.discard(longest)
        longest.close()
        return True

    def _seconds(self, connection: Connection) -> float:
        return self._answered if connection.used else self._unused
