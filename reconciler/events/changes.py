"""One counter of everything that a view of this daemon may show, for views that are open."""

from __future__ import annotations

import asyncio


class Changes:
    """Counts changes: commits of the store, ends of steps, and what links and the backend report.

    It says that something changed, not what: a view is read again. All methods run on the daemon's loop.
    """

    def __init__(self) -> None:
        self._version = 0
        self._noted = asyncio.Event()

    @property
    def version(self) -> int:
        """The number of changes so far."""
        return self._version

    def note(self) -> None:
        """Count a change, and wake those who wait."""
        self._version += 1
        noted, self._noted = self._noted, asyncio.Event()
        noted.set()

    async def after(self, version: int) -> int:
        """Return the version once it is newer than `version`."""
        while self._version <= version:
            await self._noted.wait()
        return self._version
