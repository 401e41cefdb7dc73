"""The stream of an agent's live page: its regions as on every page, and what happens in the turn as it happens.

A browser that connects gets the whole transcript, unless it shows exactly that; then what is new. So nothing is missing
and nothing is twice, whatever it had. `PENDING` stands in the token for a transcript that grew: it is sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from api.operations.lifecycle import Named
from api.ui.live.shot import Shot
from api.ui.live.stream import HEARTBEAT, Pulse, event, message
from api.ui.page import Region, StreamContext
from api.ui.pages.agent.follower import RECUT, Follower, Followers
from api.ui.render import Rendered
from api.ui.transcript.shown import ItemView, Scene

TRANSCRIPT = Region("transcript", "agent/transcript.html")
PENDING = "0" * 12


async def live_stream(context: StreamContext, asked: Named) -> AsyncGenerator[str, None]:
    """Yield the stream's text until the daemon stops, or the login ends."""
    follower = context.view.kept.of(Followers).of(asked.agent)
    with follower.follow(context.call):
        writer = _Writer(context, follower)
        try:
            yield ":\n\n"
            async for text in writer.texts():
                yield text
        finally:
            writer.close()


class _Writer:
    """One browser's stream. It waits for a shot of the page, for a batch of the transcript, and for the end."""

    def __init__(self, context: StreamContext, follower: Follower) -> None:
        self._context = context
        self._follower = follower
        self._shot: Shot | None = None
        self._pulse = Pulse(context.view)
        self._number = 0
        self._grew = False
        self._tasks: dict[str, asyncio.Future[Any]] = {
            "stopping": asyncio.ensure_future(context.call.stopping.wait()),
            "over": asyncio.ensure_future(context.over.wait()),
            "shot": asyncio.ensure_future(context.view.after(None)),
        }

    async def texts(self) -> AsyncGenerator[str, None]:
        """Yield what to write."""
        while True:
            await asyncio.wait(self._tasks.values(), timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if self._context.over.is_set():
                yield "event: over\ndata: login\n\n"
            if self._context.call.stopping.is_set() or self._context.over.is_set():
                return
            texts = [text for name in ("shot", "batch") if self._done(name) for text in await self._take(name)]
            if None in texts:
                yield "event: gone\ndata: page\n\n"
                return
            yield "".join(text for text in texts if text) or self._pulse.beat()

    def close(self) -> None:
        """Wait for nothing more."""
        for task in self._tasks.values():
            task.cancel()

    def _done(self, name: str) -> bool:
        return name in self._tasks and self._tasks[name].done()

    async def _take(self, name: str) -> list[str | None]:
        result = self._tasks.pop(name).result()
        if name == "batch":
            self._number, batches = result
            texts = await self._changes(batches)
        elif result is None:
            return [None]
        else:
            texts = await self._regions(result)
            self._tasks["shot"] = asyncio.ensure_future(self._context.view.after(result))
        if "batch" not in self._tasks:
            self._tasks["batch"] = asyncio.ensure_future(self._follower.after(self._number, self._items))
        return list(texts)

    async def _regions(self, shot: Shot) -> list[str]:
        """Return the regions that the browser lacks; of the transcript only the first time."""
        first, seen = self._shot is None, self._context.seen if self._shot is None else self._token()
        self._shot = shot
        lacking = [region for region in shot.lacking(seen) if region.id != TRANSCRIPT.id]
        if first:
            self._number, whole = await self._follower.whole(self._scene)
            if whole.digest not in seen.split("."):
                lacking.append(whole)
                self._grew = True
        return [message(lacking, self._token(), self._context.viewer)] if lacking else []

    async def _changes(self, batches: list[str | None]) -> list[str]:
        self._grew = True
        if RECUT in batches:
            self._number, whole = await self._follower.whole(self._scene)
            return [message([whole], self._token(), self._context.viewer)]
        return [event("".join(batch for batch in batches if batch), self._token(), self._context.viewer)]

    def _scene(self, scene: Scene) -> Rendered:
        values = {"scene": scene, "agent": self._follower.agent, "cache": self._follower.cache}
        return self._context.templates.region(TRANSCRIPT.id, TRANSCRIPT.template, values, time.time())

    def _items(self, items: list[tuple[bool, ItemView]]) -> str:
        values = {"items": items, "agent": self._follower.agent, "cache": self._follower.cache}
        return self._context.templates.render("agent/batch.html", values, time.time())

    def _token(self) -> str:
        """Return the digests of what the browser has."""
        digests = [
            PENDING if region.id == TRANSCRIPT.id and self._grew else region.digest
            for region in (self._shot.regions if self._shot else ())
        ]
        return ".".join(digests)
