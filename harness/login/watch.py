"""Reports each change of a login once, from what looks at it: the harness itself, or a watcher under the CLI's uid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from harness.login.presence import LOOK_SECONDS, Mark, Presence


class Credentials(Protocol):
    """The login of one CLI, as it is seen."""

    def mark(self) -> Mark | None:
        """Return a value that changes when the file appears, changes or goes; None without one. It does not block."""

    def look(self) -> Presence:
        """Return whether there is a login. It does not block."""

    async def fresh(self) -> Presence:
        """Return whether there is a login at this moment."""

    async def feed(self) -> None:
        """Keep what `mark` and `look` return up to date until cancelled."""


class Watch:
    """Reports each change of the standing once. `changed` is called with the presence, first at the start."""

    def __init__(
        self, credentials: Credentials, changed: Callable[[Presence], None], seconds: float = LOOK_SECONDS
    ) -> None:
        self._credentials = credentials
        self._changed = changed
        self._seconds = seconds
        self._reported: Presence | None = None
        self._mark: Mark | None = None
        self._judged: Mark | None = None

    def look(self) -> None:
        """Look once. A file that changed since the last look may be half written: it is judged at the next one."""
        mark = self._credentials.mark()
        if self._reported is not None:
            changed, self._mark = mark != self._mark, mark
            if changed or mark == self._judged:
                return
        self._mark = self._judged = mark
        presence = self._credentials.look()
        if presence != self._reported:
            self._reported = presence
            self._changed(presence)

    async def run(self) -> None:
        """Look every LOOK_SECONDS until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(self._seconds)
