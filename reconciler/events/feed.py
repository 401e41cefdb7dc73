"""Events: one append-only sequence, numbered `<database uuid>-<n>`, with a fan-out that never skips an event silently.

Every commit of the store wakes the fan-out, so that events of other transactions (cards) are published as well. A
subscriber that cannot be served without a gap gets Resync: it takes a new snapshot and continues from its number.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from types import TracebackType

from meta.errors import BadInput, PermanentError
from meta.names import AgentName
from reconciler.store.database import Database
from reconciler.store.events import log
from reconciler.store.events.keys import Key
from reconciler.store.events.kinds import EVENT_KINDS
from reconciler.store.events.log import EventRow, Extent, Filter
from reconciler.views import Event

__all__ = ["EVENT_KINDS", "Events", "Resync", "Subscription"]

logger = logging.getLogger(__name__)

QUEUE_LIMIT = 1_000
"""Events by which a subscriber may lag before it has to resync."""

_PAGE = 500
_SEQ = re.compile(r"[A-Za-z0-9-]{1,64}-[0-9]{1,18}")


class Resync(PermanentError):
    """The requested position cannot be served without a gap: take a snapshot and continue from its number."""

    def __init__(self, why: str) -> None:
        super().__init__(f"resync: {why}", "read the present state again and continue from its sequence number")


class Events:
    """The sequence of one database. `clock` gives Unix seconds; `on_append` is called after each append."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], float] = time.time,
        queue_limit: int = QUEUE_LIMIT,
        on_append: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._queue_limit = queue_limit
        self._subscriptions: set[Subscription] = set()
        self._published = 0
        self._publishing = asyncio.Lock()
        self._pump: asyncio.Task[None] | None = None
        self._pending = False
        self._closed = False
        self._unlisten = db.on_change(self._changed)
        self._on_append = on_append

    async def append(
        self, kind: str, agent: AgentName | None, data: Mapping[str, object], key: Key | None = None
    ) -> Event | None:
        """Append one event, and return it once it is durable.

        Return None, and append nothing, if `key` was used before. Raise BadInput for a kind that is not in EVENT_KINDS.
        """
        work = partial(log.append, at=self._clock(), kind=kind, agent=agent, data=dict(data), key=key)
        row = await self._db.write(work)
        if row is None:
            return None
        self._on_append()
        return self._event(row)

    async def last(self) -> str:
        """Return the newest event's number; `<uuid>-0` before the first event."""
        return self._seq((await self._db.read(log.extent)).last)

    async def since(self, seq: str | None, limit: int = 1000) -> list[Event]:
        """Return the events after `seq`, oldest first. Without a `seq` begin with the oldest that is kept.

        Raise Resync if `seq` belongs to another database, is ahead of this one, or is pruned.
        """
        after = None if seq is None else self._number(seq)
        page = await self._db.read(partial(log.page, n=after, limit=max(0, limit)))
        if after is not None:
            _check(after, page.extent)
        return [self._event(row) for row in page.rows]

    async def matching(
        self, seq: str | None, limit: int, only: Filter, *, before: str | None = None, oldest: bool = False
    ) -> list[Event]:
        """Return the first `limit` wanted events after `seq`, or the last ones without a `seq`, oldest first.

        `before`: only those before this one. `oldest`: without a `seq`, the first ones that are kept. Raise Resync as
        `since` does.
        """
        after = None if seq is None else self._number(seq)
        first = 0 if oldest and after is None else after
        upto = None if before is None else self._number(before)
        page = await self._db.read(partial(log.matching, n=first, limit=max(0, limit), only=only, before=upto))
        if after is not None:
            _check(after, page.extent)
        return [self._event(row) for row in page.rows]

    async def pages(self, only: Filter) -> AsyncIterator[list[Event]]:
        """Yield every wanted event that is kept, oldest first, in pages."""
        n = 0
        while rows := (await self._db.read(partial(log.matching, n=n, limit=_PAGE, only=only))).rows:
            n = rows[-1].n
            yield [self._event(row) for row in rows]

    async def pruned_before(self) -> float | None:
        """Return the time of the oldest event that is kept; None if none was pruned."""
        page = await self._db.read(partial(log.page, n=None, limit=1))
        return page.rows[0].at if page.rows and page.extent.first > 1 else None

    def check(self, seq: str) -> None:
        """Raise BadInput for a `seq` that cannot be the number of an event in any sequence."""
        if not _SEQ.fullmatch(seq):
            raise BadInput(f"{seq[:60]!r} is not an event's number", "give the `seq` of an event, or of /api/state")

    def subscribe(self, after: str | None) -> Subscription:
        """Subscribe to every event after `after` (None: after the newest), without a gap.

        `async with events.subscribe(after) as stream: async for event in stream: ...`. Entering and iterating raise
        Resync instead of leaving a gap. The stream ends when Events is closed.
        """
        return Subscription(self, after)

    async def publish(self) -> None:
        """Publish every event committed so far to the subscribers. A commit does this soon by itself."""
        async with self._publishing:
            while self._subscriptions and not self._closed:
                rows = await self._db.read(partial(log.after, n=self._published, limit=_PAGE))
                for row in rows:
                    self._push(row)
                if len(rows) < _PAGE:
                    return

    def _push(self, row: EventRow) -> None:
        event, gap = self._event(row), row.n != self._published + 1
        for subscription in tuple(self._subscriptions):
            if gap:
                subscription.fail("events were pruned before they were published")
            else:
                subscription.push(row.n, event)
        self._published = row.n

    async def close(self) -> None:
        """End every subscription. Events can still be appended while the database is open."""
        if self._closed:
            return
        self._closed = True
        self._unlisten()
        for subscription in tuple(self._subscriptions):
            subscription.end()
        if self._pump is not None:
            await asyncio.wait({self._pump})

    async def attach(self, subscription: Subscription, seq: str | None) -> tuple[int, int]:
        """Register a subscriber. Return (a, b): the subscriber reads events a+1 to b from the store, and later events
        are pushed.
        """
        async with self._publishing:
            extent = await self._db.read(log.extent)
            after = extent.last if seq is None else self._number(seq)
            _check(after, extent)
            if not self._subscriptions:
                self._published = extent.last
            if self._closed:
                subscription.end()
            else:
                self._subscriptions.add(subscription)
            return after, self._published

    def detach(self, subscription: Subscription) -> None:
        """Forget a subscriber."""
        self._subscriptions.discard(subscription)

    async def stored(self, after: int, upto: int) -> list[Event]:
        """Return one page of the events after number `after`, up to and including `upto`.

        Raise Resync if they are pruned.
        """
        page = await self._db.read(partial(log.page, n=after, limit=_PAGE, upto=upto))
        _check(after, page.extent)
        return [self._event(row) for row in page.rows]

    @property
    def queue_limit(self) -> int:
        """The number of events that may wait for one subscriber."""
        return self._queue_limit

    def number(self, event: Event) -> int:
        """Return the `n` of an event of this sequence."""
        return self._number(event.seq)

    def _changed(self) -> None:
        """Start the pump after a commit, unless it runs. Called on the loop, so it must return at once."""
        self._pending = True
        if self._subscriptions and self._pump is None:
            self._pump = asyncio.create_task(self._run_pump(), name="events")

    async def _run_pump(self) -> None:
        try:
            while self._pending:
                self._pending = False
                await self.publish()
        except Exception:
            logger.exception("events cannot be published; every subscriber has to resync")
            for subscription in tuple(self._subscriptions):
                subscription.fail("events could not be read")
        finally:
            self._pump = None

    def _seq(self, n: int) -> str:
        return f"{self._db.uuid}-{n}"

    def _event(self, row: EventRow) -> Event:
        return Event(self._seq(row.n), row.at, row.kind, row.agent, row.data)

    def _number(self, seq: str) -> int:
        uuid, _, n = seq.rpartition("-")
        if uuid != self._db.uuid:
            raise Resync(f"{seq[:60]!r} belongs to another database")
        if not (n.isascii() and n.isdigit() and len(n) < 19):
            raise Resync(f"{seq[:60]!r} is not a sequence number")
        return int(n)


class Subscription:
    """One subscriber: an async context manager and the iterator that it returns."""

    def __init__(self, events: Events, after: str | None) -> None:
        self._events = events
        self._from = after
        self._backlog: deque[Event] = deque()
        self._position = 0
        self._backlog_end = 0
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._fault = ""
        self._ended = False

    async def __aenter__(self) -> AsyncIterator[Event]:
        try:
            self._position, self._backlog_end = await self._events.attach(self, self._from)
        except BaseException:
            self._events.detach(self)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.detach(self)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """Return the next event. A cancelled call loses no event."""
        if not self._backlog and self._position < self._backlog_end:
            if self._ended:
                raise StopAsyncIteration
            self._backlog.extend(await self._events.stored(self._position, self._backlog_end))
            self._position = self._events.number(self._backlog[-1])
        if self._backlog:
            return self._backlog.popleft()
        while not self._queue:
            if self._fault:
                raise Resync(self._fault)
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    def push(self, n: int, event: Event) -> None:
        """Queue one more event. If too many wait already, end the subscription with Resync."""
        if n <= self._position:  # it was read from the store: attached after its commit, before it was published
            return
        if len(self._queue) >= self._events.queue_limit:
            self.fail(f"more than {self._events.queue_limit} events were waiting")
            return
        self._queue.append(event)
        self._wake.set()

    def fail(self, why: str) -> None:
        """End the subscription with Resync after the queued events."""
        self._fault = why
        self._events.detach(self)
        self._wake.set()

    def end(self) -> None:
        """End the subscription after the queued events."""
        self._ended = True
        self._events.detach(self)
        self._wake.set()


def _check(after: int, extent: Extent) -> None:
    if after > extent.last:
        raise Resync(f"there is no event {after} here yet (the newest is {extent.last})")
    if after < extent.first - 1:
        raise Resync(f"the events after {after} are pruned (the oldest is {extent.first})")
