"""A page's stream of server-sent events: the regions that a browser lacks, and each that changes.

The id of an event is the token of all regions as they are then, so a browser that comes back gets what it lacks, once,
from this daemon or from the next one. An unnamed event has parts of the page, which htmx puts in their places. The
event `gone` says that what the page shows does not exist any more, `over` that the login has ended, `trouble` that the
page cannot be read now, and `well` that it can again.

A comment follows HEARTBEAT seconds after the last write: only a write shows that the peer has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any

from api.ui.live.hub import LiveView
from api.ui.live.shot import Shot
from api.ui.render import Rendered, Viewer, for_viewer

HEARTBEAT = 15.0
PROXIED = 300.0
"""Seconds after which the stream of a user whom a proxy logs in ends: the proxy is asked again with the next one."""


def page_stream(
    view: LiveView, seen: str, viewer: Viewer, stopping: asyncio.Event, over: asyncio.Event
) -> AsyncGenerator[str, None]:
    """Yield the stream's text until `stopping` or `over` (the end of the login) is set."""
    return _events(view, seen, stopping, over, lambda lacking, token: message(lacking, token, viewer))


def feed_stream(view: LiveView, seen: str, stopping: asyncio.Event, over: asyncio.Event) -> AsyncGenerator[str, None]:
    """Yield the text of a stream of values, as `page_stream` does that of a page's parts."""
    return _events(view, seen, stopping, over, _values)


async def _events(
    view: LiveView,
    seen: str,
    stopping: asyncio.Event,
    over: asyncio.Event,
    write: Callable[[Sequence[Rendered], str], str],
) -> AsyncGenerator[str, None]:
    ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait()) for event in (stopping, over)]
    coming: asyncio.Future[Shot | None] | None = None
    shot: Shot | None = None
    pulse = Pulse(view)
    try:
        yield ":\n\n"  # the headers leave with the first text
        while True:
            coming = coming or asyncio.ensure_future(view.after(shot))
            waiting: set[asyncio.Future[Any]] = {coming, *ends}
            await asyncio.wait(waiting, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if over.is_set():
                yield "event: over\ndata: login\n\n"
            if stopping.is_set() or over.is_set():
                return
            if not coming.done():
                yield pulse.beat()
                continue
            shot, coming = coming.result(), None
            if shot is None:
                yield "event: gone\ndata: page\n\n"
                return
            if lacking := shot.lacking(seen):
                yield write(lacking, shot.token)
            seen = shot.token
    finally:
        for end in ends:
            end.cancel()
        if coming is not None:
            coming.cancel()


async def bounded(events: AsyncGenerator[str, None], seconds: float) -> AsyncGenerator[str, None]:
    """Yield what `events` yields, for this long. The browser then comes back, and has to be let in again."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    try:
        while True:
            try:
                async with asyncio.timeout_at(end):
                    text = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if loop.time() < end:
                    raise
                return
            yield text
    finally:
        await events.aclose()


class Pulse:
    """What a stream writes while nothing changes: a comment, unless the view cannot be read or can be read again."""

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._failing = False

    def beat(self) -> str:
        """Return the text to write now."""
        was, self._failing = self._failing, self._view.failing
        if self._failing:
            return "event: trouble\ndata: view\n\n"
        return "event: well\ndata: view\n\n" if was else ":\n\n"


def message(regions: Iterable[Rendered], token: str, viewer: Viewer) -> str:
    """Return the event that puts `regions` in their places."""
    return event(parts(regions), token, viewer)


def event(html: str, token: str, viewer: Viewer) -> str:
    """Return the event of parts of a page, after which the browser has what `token` names."""
    lines = for_viewer(html, viewer).replace("\r", "&#13;").split("\n")  # a lone CR ends a line of a stream
    return f"id: {token}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


def _values(regions: Iterable[Rendered], token: str) -> str:
    """Return the event that gives a script the texts of `regions`, each on one line."""
    return f"id: {token}\n" + "".join(f"data: {region.text}\n" for region in regions) + "\n"


def parts(regions: Iterable[Rendered]) -> str:
    """Return regions as htmx takes them: each replaces the element of its id, by morphing."""
    return "".join(
        f'<hx-partial hx-target="#{region.id}" hx-swap="outerMorph">{region.text}</hx-partial>' for region in regions
    )
