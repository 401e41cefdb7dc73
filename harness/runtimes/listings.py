"""The answers to `tools/list` of hive's tools that reached the CLI.

A CLI that did not get them does its turn without hive's tools, and says nothing: it can neither send nor answer. Only
the relay to hive sees that, so it counts them here, and a runtime may wait for one before it gives the CLI a message.
"""

from __future__ import annotations

import asyncio


class Listings:
    """The count of the answers, and why hive gave none of late."""

    def __init__(self) -> None:
        self.count = 0
        self.trouble = ""
        """Why the newest request of the CLI got no answer of hive; empty if it got one."""
        self._changed = asyncio.Event()

    def add(self) -> None:
        """Count an answer that reached the CLI."""
        self.count += 1
        self.trouble = ""
        self._changed.set()
        self._changed = asyncio.Event()

    def answer(self) -> None:
        """Record that hive answered a request, whatever it was."""
        self.trouble = ""

    def fail(self, why: str) -> None:
        """Record that a request got no answer of hive."""
        self.trouble = why

    async def wait(self, count: int, seconds: float) -> bool:
        """Wait until there are more than `count` answers. Return False if there are not within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self.count <= count:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
