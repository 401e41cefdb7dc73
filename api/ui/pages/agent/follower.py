"""The transcript of one agent, kept up to date for all who look: by one stream while a page is open, else when read.

Each change is rendered once. A page gets batches: the parts of one, in order, or RECUT, after which it takes the whole.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from api.operations.base import Call, Raw
from api.operations.full_disk import perform
from api.operations.live_events import LiveEventsInput, LiveInput, live, live_events
from api.ui.render import Rendered
from api.ui.transcript.cache import Cache
from api.ui.transcript.shown import WINDOW, ItemView, Scene, scene
from api.ui.transcript.transcript import Transcript
from meta.errors import Conflict, HiveError
from meta.names import AgentName
from reconciler.store.live import AGENT_ROWS

log = logging.getLogger(__name__)

SPACING = 0.2
"""Seconds between two batches, at least. The first one after a pause comes at once."""
SLACK = 100
"""Items of the last turn beyond WINDOW until it is cut again."""
BATCHES = 32
"""Batches that are kept for pages that are slow. One that is slower takes the whole."""
KEPT = 16
"""Transcripts of agents that nobody looks at now."""
AGAIN = 2.0
"""Seconds until a stream that failed is begun again."""

RECUT = None
T = TypeVar("T")
Ask = Callable[[LiveEventsInput], Awaitable[Any]]
Render = Callable[[list[tuple[bool, ItemView]]], str]
"""Makes the parts of a page of items; True for those that are new."""


class Follower:
    """The transcript of one agent. All that changes it holds `_lock`."""

    def __init__(self, agent: AgentName) -> None:
        self.agent = agent
        self.cache = Cache()
        self._lock = asyncio.Lock()
        self._transcript = Transcript()
        self._position = ""
        self._first = 0
        self._known = 0
        self._batches: deque[str | None] = deque(maxlen=BATCHES)
        self._number = 0
        self._whole: tuple[int, Rendered] | None = None
        self._news = asyncio.Event()
        self._one = asyncio.Lock()
        self._not_before = 0.0
        self._task: asyncio.Task[None] | None = None
        self._watchers = 0

    @property
    def _runs(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def watched(self) -> bool:
        """Return True while a page is open."""
        return self._watchers > 0

    @contextmanager
    def follow(self, call: Call) -> Iterator[None]:
        """Keep the transcript up to date for the time of the block."""
        self._watchers += 1
        if not self._runs:
            self._task = asyncio.create_task(self._run(call), name=f"live events of {self.agent} for pages")
            self._task.add_done_callback(_report)
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def scene(self, ask: Ask) -> Scene:
        """Return what the page shows now. `ask` reads live events, if they do not come by themselves."""
        return await self.read(ask, lambda transcript: scene(transcript.turns, self._first, self.cache.view))

    async def read(self, ask: Ask, look: Callable[[Transcript], T]) -> T:
        """Return what `look`, in a thread, makes of the whole transcript."""
        async with self._lock:
            if not self._runs:
                await self._catch_up(ask)
            return await asyncio.to_thread(look, self._transcript)

    async def whole(self, render: Callable[[Scene], Rendered]) -> tuple[int, Rendered]:
        """Return the whole transcript, rendered once for all, and the number of the batch up to which it has all."""
        async with self._lock:
            if self._transcript.recut or self._transcript.has_changes:
                self._note(RECUT)
                self._transcript.take_changes()
                self._cut()
                self._news.set()  # who waits for the next batch has to learn of this one
            if self._whole is None or self._whole[0] != self._number:
                self._whole = self._number, render(scene(self._transcript.turns, self._first, self.cache.view))
            return self._whole

    async def after(self, number: int, render: Render) -> tuple[int, list[str | None]]:
        """Return the batches after `number`, once there are some, and the number of the last of them."""
        if self._number <= number:  # else it need not wait behind those who have all
            async with self._one:
                while self._number <= number:
                    await self._news.wait()
                    pause = self._not_before - asyncio.get_running_loop().time()
                    if pause > 0:
                        await asyncio.sleep(pause)
                    async with self._lock:
                        self._tick(render)
        missed = self._number - number
        return self._number, [RECUT] if missed > len(self._batches) else list(self._batches)[-missed:]

    # the changes
    def _tick(self, render: Render) -> None:
        self._news.clear()
        self._not_before = asyncio.get_running_loop().time() + SPACING
        changed = self._transcript.take_changes()
        if not self._transcript.recut and not self._transcript.turns:
            return
        if self._transcript.recut or len(self._transcript.turns[-1].items) - self._first > WINDOW + SLACK:
            self._cut()
            self._note(RECUT)
            return
        turn, shown = self._transcript.turns[-1], []
        for key in changed:
            place = self._transcript.place(key)
            if place is not None and place[0] is turn and place[1] >= self._first:
                shown.append((place[1] >= self._known, self.cache.view(turn.items[place[1]])))
        self._known = len(turn.items)
        if shown:
            self._note(render(shown))

    def _cut(self) -> None:
        """Begin what is shown of the last turn anew."""
        self._transcript.recut = False
        items = len(self._transcript.turns[-1].items) if self._transcript.turns else 0
        self._first, self._known = max(0, items - WINDOW), items

    def _note(self, batch: str | None) -> None:
        self._number += 1
        self._batches.append(batch)

    # the events
    async def _run(self, call: Call) -> None:
        async def ask(asked: LiveEventsInput) -> Any:
            return await perform(call, live_events, asked)

        while not call.stopping.is_set():
            try:
                async with self._lock:
                    await self._catch_up(ask)
                self._news.set()
                asked = LiveInput(agent=self.agent, newest=AGENT_ROWS, last_event_id=self._position or None)
                stream: Raw = await perform(call, live, asked)
                async for text in stream.content:  # type: ignore[union-attr]
                    await self._take(str(text))
            except HiveError:
                pass  # the page's own regions say what is wrong with the agent
            await asyncio.sleep(AGAIN)

    async def _take(self, text: str) -> None:
        async with self._lock:
            await _whole(self._blocks, text)
            if self._transcript.recut or self._transcript.has_changes:
                self._news.set()

    def _blocks(self, text: str) -> None:
        """Take a text of the stream. It has whole events (api/operations/live_stream.py)."""
        for block in text.split("\n\n"):
            fields = dict(line.partition(": ")[::2] for line in block.split("\n") if not line.startswith(":"))
            if fields.get("event") == "live":
                self._row(json.loads(fields["data"]))
            elif fields.get("event") == "resync":
                self._forget()

    async def _catch_up(self, ask: Ask) -> None:
        """Read what came since the last time."""
        try:
            answer = await ask(LiveEventsInput(agent=self.agent, after=self._position or None, limit=AGENT_ROWS))
        except Conflict:
            self._forget()
            answer = await ask(LiveEventsInput(agent=self.agent, limit=AGENT_ROWS))
        before = self._position
        await _whole(self._rows, answer.content)
        if self._position != before and not self._runs:
            self._transcript.take_changes()
            self._cut()
            self._note(RECUT)

    def _rows(self, content: bytes) -> None:
        for row in json.loads(content):
            self._row(row)

    def _row(self, row: dict[str, Any]) -> None:
        self._position = row["id"]
        self._transcript.add(row["id"], row["ts"], row["event"])

    def _forget(self) -> None:
        self._transcript, self._position, self._first, self._known = Transcript(), "", 0, 0


async def _whole(work: Callable[[T], None], given: T) -> None:
    """Do work in a thread, to its end even if the caller is cancelled: what holds the lock must not be half done."""
    done = asyncio.ensure_future(asyncio.to_thread(work, given))
    try:
        await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait({done})
        raise


class Followers:
    """The followers of agents. Of those that nobody watches the ones that were used last are kept."""

    def __init__(self) -> None:
        self._by_agent: dict[AgentName, Follower] = {}

    def of(self, agent: AgentName) -> Follower:
        """Return the follower of an agent."""
        follower = self._by_agent.pop(agent, None) or Follower(agent)
        self._by_agent[agent] = follower
        idle = [name for name, each in self._by_agent.items() if not each.watched and name != agent]
        for name in idle[: max(0, len(idle) - KEPT)]:
            del self._by_agent[name]
        return follower


def _report(task: asyncio.Task[None]) -> None:
    """Log why a stream ended that nobody cancelled. The next page begins another."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s ended", task.get_name(), exc_info=error)
