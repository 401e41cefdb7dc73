"""The views that are open now. Each is rendered at most every SPACING seconds, whatever happens and whoever looks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from api.operations.base import Call
from api.ui.live.shot import Shot
from api.ui.moment import Kept, Moment
from api.ui.page import Feed, Page
from meta.errors import HiveError, NotFound, TransientError

log = logging.getLogger(__name__)

SPACING = 0.2
"""Seconds between two renderings of a view, at least. The first one after a pause comes at once."""
SPARE = 3.0
"""A rendering is followed by a pause of this many times its time."""
MANY = 40
"""Views that are rendered each for itself. Of more one at a time is, and a pause follows that holds for all."""
OF_ONE = 64
"""Streams of one login at once."""
REREAD = 15.0
"""Seconds after which a view is read again even if nothing reported a change: what is measured changes silently.

All open views are read again at the same times, so that they share one moment: with many agents a status is dear.
"""
FAILED = 5.0
"""Seconds after a view that could not be read."""
AGAIN = 30.0
"""Seconds after which a login with too many streams may ask again."""
FRESH = 1.0
"""Seconds for which the answers of a moment are used again, if nothing reported a change."""

Render = Callable[[Moment], Awaitable[Shot]]


class Hub:
    """The moment that all pages share, and the views that are open."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._changes = call.service.changes
        self._views: dict[tuple[str, str], LiveView] = {}
        self._moment: Moment | None = None
        self._streams: Counter[str] = Counter()
        self._one = asyncio.Lock()
        self._not_before = 0.0
        self.kept = Kept()

    def moment(self) -> Moment:
        """Return the present moment: the last one, if nothing changed since and it is fresh."""
        now, moment = time.time(), self._moment
        if moment is None or moment.version != self._changes.version or not 0 <= now - moment.at < FRESH:
            pages = sum(view.watchers for view in self._views.values())
            moment = self._moment = Moment(self._call, self._changes.version, now, self.kept, pages)
        return moment

    @contextmanager
    def watch(self, page: Page[Any] | Feed[Any], asked: Any, render: Render) -> Iterator[LiveView]:
        """Yield the view of a page, which is kept while anybody watches it."""
        key = (page.name, repr(asked))
        view = self._views.setdefault(key, LiveView(self, render))
        view.watchers += 1
        try:
            yield view
        finally:
            view.watchers -= 1
            if not view.watchers:
                del self._views[key]

    def admit(self, login: str) -> None:
        """Raise TransientError if this login has as many streams as it may have."""
        if self._streams[login] >= OF_ONE:
            raise TransientError(f"this login has {OF_ONE} live pages open", "close some of them", retry_after=AGAIN)

    @contextmanager
    def stream(self, login: str) -> Iterator[None]:
        """Count a stream of this login while it is open."""
        self._streams[login] += 1
        try:
            yield
        finally:
            self._streams[login] -= 1
            if not self._streams[login]:
                del self._streams[login]

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a view may be rendered: many views share the pause that a single one has for itself."""
        if len(self._views) <= MANY:
            yield
            return
        async with self._one:
            if (pause := self._not_before - _now()) > 0:
                await asyncio.sleep(pause)
            begun = _now()
            try:
                yield
            finally:
                self._not_before = _now() + SPARE * (_now() - begun)

    def is_current(self, version: int) -> bool:
        """Return True if nothing was reported since this version."""
        return self._changes.version == version

    async def changed(self, version: int) -> None:
        """Wait for a change after `version`."""
        await self._changes.after(version)


class LiveView:
    """One view that is open. Of those who watch it, the first who wants a newer shot renders it for all."""

    def __init__(self, hub: Hub, render: Render) -> None:
        self.watchers = 0
        self._hub = hub
        self._render = render
        self._shot: Shot | None = None
        self._one = asyncio.Lock()
        self._not_before = 0.0
        self._gone = False
        self.failing = False
        """True while the view cannot be read: those who watch see what it was before."""

    @property
    def kept(self) -> Kept:
        """What pages keep from moment to moment."""
        return self._hub.kept

    async def after(self, shot: Shot | None) -> Shot | None:
        """Return a shot that is newer than `shot`, once there is one. None: what the view shows does not exist.

        A call may be cancelled at any time: the next one goes on. Who comes while others wait for a change gets at once
        what they have.
        """
        if self._shot is not shot and self._shot is not None and self._hub.is_current(self._shot.version):
            return self._shot
        async with self._one:
            while self._shot is shot and not self._gone:
                await self._wait(shot)
                await self._take()
            return None if self._gone else self._shot

    async def _wait(self, shot: Shot | None) -> None:
        """Wait until it is time for a rendering after `shot`."""
        if shot is not None:
            again = min(REREAD, shot.shown.again or REREAD)
            try:
                async with asyncio.timeout(again - _now() % again):
                    await self._hub.changed(shot.version)
            except TimeoutError:
                pass
        pause = self._not_before - _now()
        if pause > 0:
            await asyncio.sleep(pause)

    async def _take(self) -> None:
        begun = _now()
        try:
            async with self._hub.turn():
                begun = _now()
                self._shot = await self._render(self._hub.moment())
        except NotFound:
            self._gone = True
        except HiveError as error:
            log.warning("an open page cannot be read: %s", error.summary, extra={"limited": "open pages"})
            self._fail()
            return
        except Exception as error:  # raised here it would end the stream of each page, which comes back at once
            log.error(
                "an open page raised an unexpected error", exc_info=error, extra={"limited": "open pages' errors"}
            )
            self._fail()
            return
        self.failing = False
        now = _now()
        self._not_before = now + max(SPACING - (now - begun), SPARE * (now - begun))

    def _fail(self) -> None:
        self.failing = True
        self._not_before = _now() + FAILED


def _now() -> float:
    """Return the loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
