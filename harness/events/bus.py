"""The bus of live events: every event gets an id, goes to the log, and to all that watch now.

A watcher has a buffer of CHANNEL events. One that lags is told so with a RESYNC, and `follow` reads from the log again.
Seed 003 dropped the events in silence (docs/decisions/0027-live-events.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType

from harness.asides import Aside
from harness.events.database import Row
from harness.events.encoding import encode_bounded, encode_line
from harness.events.store import EventStore
from meta.wire.live import AnyItem, LiveEvent, Text, TextDelta, TurnEnd, TurnStart, Unknown, Usage
from meta.wire.under_way import UnderWay

log = logging.getLogger(__name__)

CHANNEL = 256
"""Events that wait for one subscriber."""
PAGE = 200
"""Rows that `follow` reads from the log at a time."""


class Bus:
    """The bus over one log. All methods run on the event loop; none but the asynchronous ones waits."""

    def __init__(self, store: EventStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._subscriptions: set[Subscription] = set()
        self._under_way: UnderWay[Row] = UnderWay()
        self._unknown = 0
        self._unreadable = 0

    @property
    def log(self) -> str:
        """Return the name of the log."""
        return self._store.log

    @property
    def last(self) -> int:
        """Return the id of the newest event."""
        return self._store.last

    def emit(self, event: LiveEvent) -> None:
        """Record an event and pass it on. This neither waits nor raises. A usage gets what is counted here."""
        if isinstance(event, Usage):
            event = self._counted(event)
        if isinstance(event, TurnStart | TurnEnd):
            self._under_way.end()
        self._pass_on(event.kind, lambda: encode_bounded(event), keep=True)

    def _counted(self, usage: Usage) -> Usage:
        unknown, self._unknown = self._unknown, 0
        before, self._unreadable = self._unreadable, self._store.unreadable
        return usage.model_copy(update={"unknown_lines": unknown, "unreadable_rows": self._unreadable - before})

    def _pass_on(self, kind: str, encode: Callable[[], str], *, keep: bool) -> None:
        try:
            row = self._store.append(int(self._clock()), kind, encode(), keep=keep)
            if not keep:
                self._under_way.add(row)
            for subscription in self._subscriptions:
                subscription.put(row)
        except Exception:
            log.exception("an event could not be recorded")

    def line(self, items: Sequence[AnyItem], line: object) -> None:
        """Emit one line of the CLI. It is not validated: the items are what they are.

        Pieces of a text go to the subscribers and are not in the log (meta.wire.live.is_passing). Those of the text
        under way are kept in memory, for who begins to follow now.
        """
        self.count(items)
        if any(isinstance(item, Text) for item in items):
            self._under_way.end()
        keep = not items or not all(isinstance(item, TextDelta) for item in items)
        self._pass_on("stream", lambda: encode_line(items, line), keep=keep)

    def aside(self, aside: Aside) -> None:
        """Drop it: the log has what is kept."""

    def count(self, items: Sequence[AnyItem]) -> None:
        """Count what is unknown in a line of the CLI: the next usage has the sum."""
        self._unknown += sum(isinstance(item, Unknown) for item in items)

    def subscribe(self) -> Subscription:
        """Return a subscription to what is emitted from now on. Use it in a `with` block."""
        return Subscription(self._subscriptions)

    async def follow(self, after: int) -> AsyncGenerator[list[Row], None]:
        """Yield the events after this id, and then every new one, in batches, without gap and duplicate.

        Events that the log has lost, deleted or never kept are missing, but for the pieces of the text under way.
        """
        with self.subscribe() as subscription:
            while True:
                more = True
                while more:
                    last, pieces = self.last, self._under_way.rows
                    read = await asyncio.to_thread(self._store.read, after, PAGE)
                    more = len(read) == PAGE
                    end = read[-1].id if more else last
                    kept = [row for row in read if row.id <= last]  # before later ones there may be other pieces
                    if rows := sorted([*kept, *(row for row in pieces if after < row.id <= end)]):
                        yield rows
                        after = rows[-1].id
                while (batch := await subscription.get()) is not None:
                    if rows := [row for row in batch if row.id > after]:
                        yield rows
                        after = rows[-1].id


class Subscription:
    """What one subscriber has not read yet."""

    def __init__(self, members: set[Subscription]) -> None:
        self._members = members
        self._rows: deque[Row] = deque()
        self._lagged = False
        self._ready = asyncio.Event()

    def put(self, row: Row) -> None:
        """Take an event. If too many wait, drop them all: the subscriber learns of it."""
        if len(self._rows) >= CHANNEL:
            self._rows.clear()
            self._lagged = True
        self._rows.append(row)
        self._ready.set()

    async def get(self) -> list[Row] | None:
        """Return all that waits, at least one event. None means resync: events are missing before the next ones."""
        await self._ready.wait()
        if self._lagged:
            self._lagged = False
            return None
        rows = list(self._rows)
        self._rows.clear()
        self._ready.clear()
        return rows

    def __enter__(self) -> Subscription:
        self._members.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._members.discard(self)
