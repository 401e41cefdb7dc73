"""The request to end the turn that runs."""

from __future__ import annotations

import asyncio
from enum import StrEnum


class Cause(StrEnum):
    """Who ends a turn.

    `operator`: for good. `pause`: hive's pause of the agent. `pod`: a client of the pod, which can resume it. `limit`:
    hive, because the turn takes longer than its limit.
    """

    OPERATOR = "operator"
    PAUSE = "pause"
    POD = "pod"
    LIMIT = "limit"


class Stop:
    """The request to end one turn. The first cause counts. `hard`: do not wait for the CLI."""

    def __init__(self) -> None:
        self.cause: Cause | None = None
        self.hard = False
        self._changed = asyncio.Event()

    def request(self, cause: Cause) -> None:
        """Ask for the end of the turn."""
        self.cause = self.cause or cause
        self.hard = self.hard or cause is Cause.LIMIT
        self._changed.set()

    async def wait(self) -> None:
        """Wait for the request."""
        await self._changed.wait()

    async def wait_hard(self) -> None:
        """Wait for a request that does not wait for the CLI."""
        while not self.hard:
            self._changed.clear()
            await self._changed.wait()
