"""The login of a CLI with another uid than the harness, as a watcher under that uid reports it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from harness.login.look import decode
from harness.login.presence import Mark, Presence, Standing
from harness.login.process import LoginChild
from meta.errors import HiveError
from meta.text import one_line

log = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
"""Seconds that an answer to a question of the moment may take."""
AGAIN_SECONDS = (1.0, 60.0)
"""Seconds until a watcher that ended is started again: the first time, and at most."""

StartWatch = Callable[[str, Mapping[str, str], Path], Awaitable[LoginChild]]
"""Starts the watcher of a runtime's login, with the environment of the CLI and its home. Raises HiveError."""


class RemoteCredentials:
    """What the watcher saw last (implements harness.login.watch.Credentials). Nothing is known before `feed` runs."""

    def __init__(self, runtime: str, home: Path, env: Mapping[str, str], start: StartWatch) -> None:
        self._runtime = runtime
        self._home = home
        self._env = env
        self._start = start
        self._child: LoginChild | None = None
        self._mark: Mark | None = None
        self._presence = Presence(Standing.UNKNOWN)
        self._news = asyncio.Event()

    def mark(self) -> Mark | None:
        """Return a value that changes when the file appears, changes or goes; None without one."""
        return self._mark

    def look(self) -> Presence:
        """Return what the watcher saw last."""
        return self._presence

    async def fresh(self) -> Presence:
        """Have the watcher look now. Unknown if it does not answer."""
        news = self._news
        if self._child is not None and self._child.write(b"\n"):
            try:
                async with asyncio.timeout(FRESH_SECONDS):
                    await news.wait()
                return self._presence
            except TimeoutError:
                log.info("the watcher of the login does not answer")
        return Presence(Standing.UNKNOWN)

    async def feed(self) -> None:
        """Follow the watcher, and start it again if it ends, until cancelled."""
        pause = AGAIN_SECONDS[0]
        while True:
            try:
                self._child = await self._start(self._runtime, self._env, self._home)
                if await self._follow(self._child):
                    pause = AGAIN_SECONDS[0]
            except HiveError as error:
                log.warning("the login of the CLI cannot be watched: %s", one_line(error.summary))
            finally:
                child, self._child = self._child, None
                if child is not None:
                    await child.end()
            self._presence = Presence(Standing.UNKNOWN)
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN_SECONDS[1])

    async def _follow(self, child: LoginChild) -> bool:
        """Take its lines until it ends or writes something else. Return True if there was one."""
        seen = False
        while (line := await child.line()) is not None:
            try:
                self._mark, self._presence = decode(line.data)
            except (ValueError, KeyError, RecursionError) as error:
                log.warning("the watcher of the login wrote something else: %s", error)
                break
            seen = True
            self._news.set()
            self._news = asyncio.Event()
        return seen
