"""The agents' live events as hive has them: a bounded copy of each harness's log, and those who watch now.

What an agent sends is its own claim. It is bounded, it is never logged, and nothing depends on it. Only the process
that has the agent's link is listened to. hive asks it for the events after the last one that it has, so a restart of
either side loses none that the harness still has, and takes none twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

from meta.errors import HiveError, TransientError
from meta.names import AgentName
from meta.wire.link import Hello
from meta.wire.live import is_passing
from meta.wire.under_way import UnderWay, ends_text
from reconciler.store.live import LiveStore
from reconciler.store.live_queue import LiveRow

log = logging.getLogger(__name__)

CHANNEL = 256
"""Events that wait for one subscriber."""
LOGS = 4
"""Logs of one agent whose position is remembered."""
KIND_LENGTH = 40
_MALFORMED: dict[str, Any] = {"kind": "usage"}
"""What is recorded of a usage that hive fails to read: its turn must not be free of charge."""

OnUsage = Callable[[AgentName, str, int, int, Mapping[str, Any]], Awaitable[None]]
"""Records what a turn cost: the agent, its log, the event's id and time in Unix seconds, and the event, of which
nothing is checked. The same can come again. Raises TransientError if it cannot record that now.
"""


class LiveLine(NamedTuple):
    """One event as it came over the link. `text` is `value` as JSON on one line."""

    id: int
    ts: int
    value: dict[str, Any]
    text: str


@dataclass(slots=True)
class _Following:
    """One link over which the events of a log come. Events of a link before it are not taken any more.

    `last`: the newest id of the log at the hello. `latest`: the id that came last. `missing`: an event of an earlier id
    has to come again.
    """

    log: str
    last: int
    latest: int = 0
    missing: bool = False


class Live:
    """The copy and its subscribers. All methods run on the daemon's loop.

    `on_usage` is awaited for each `usage` event before hive counts the event as taken: if the daemon dies before that,
    the harness sends it again. While a usage cannot be recorded, because the disk is full, what follows it is shown and
    does not count as taken, either: `missing_after` returns from where all of it must come again.
    """

    def __init__(self, store: LiveStore, on_usage: OnUsage | None = None) -> None:
        self._store = store
        self._on_usage = on_usage
        self._positions = store.positions()
        self._following: dict[AgentName, _Following] = {}
        self._subscriptions: dict[AgentName, set[Subscription]] = {}
        self._under_way: dict[AgentName, UnderWay[LiveRow]] = {}

    # called by the link
    def begin(self, agent: AgentName, hello: Hello) -> int | None:
        """Take the events of the log that this hello names from now on. Return the id after which they are wanted.

        Return None if the harness has no log.
        """
        self._following.pop(agent, None)
        if hello.log is None or not hello.log.isalnum():
            return None
        known = self._positions.setdefault(agent, {})
        after = min(known.pop(hello.log, 0), hello.last)  # less: its state was restored from a backup
        known[hello.log] = after
        if any(row.log != hello.log or row.id > after for row in self._pieces(agent)):
            del self._under_way[agent]
        for older in list(known)[:-LOGS]:
            del known[older]
        self._following[agent] = _Following(hello.log, hello.last)
        for subscription in self._subscriptions.get(agent, ()):
            subscription.bound(hello.log, hello.last)
        return after

    def missing_after(self, agent: AgentName) -> int | None:
        """Return the id after which the events have to be asked for again; None if none is missing."""
        following = self._following.get(agent)
        return None if following is None or not following.missing else self._positions[agent][following.log]

    async def take(self, agent: AgentName, event: LiveLine) -> None:
        """Take one event of the process that has the link. One that is known is ignored."""
        following = self._following.get(agent)
        if following is None:
            return
        if event.id <= following.latest:  # they come again
            following.missing = False
        following.latest = event.id
        if event.id <= self._positions[agent][following.log]:
            return
        text = event.text
        if not isinstance(kind := event.value.get("kind"), str) or len(kind) > KIND_LENGTH:
            text = '{"kind":"note","text":"an event without a kind, which hive cannot show"}'
        elif kind == "usage" and not following.missing:
            recorded = await self._record(agent, following.log, event)
            if self._following.get(agent) is not following:  # destroyed, or it has a new link: the event comes again
                return
            following.missing = not recorded
        if not following.missing:
            self._positions[agent][following.log] = event.id
        keep = not following.missing and not is_passing(event.value)
        row = self._store.append(agent, following.log, event.id, event.ts, text, keep=keep)
        if is_passing(event.value):
            self._under_way.setdefault(agent, UnderWay()).add(row)
        elif ends_text(event.value):
            self._under_way.pop(agent, None)
        for subscription in self._subscriptions.get(agent, ()):
            subscription.put(row)

    async def _record(self, agent: AgentName, name: str, event: LiveLine) -> bool:
        """Record a usage. Return False if that is not possible now."""
        try:
            if self._on_usage is not None:
                await self._on_usage(agent, name, event.id, event.ts, event.value)
        except TransientError as error:
            log.warning(
                "%s: its usage is not recorded yet: %s", agent, error.summary, extra={"limited": f"{agent} usage"}
            )
            return False
        except HiveError as error:
            log.warning("%s: its usage is not recorded: %s", agent, error.summary, extra={"limited": f"{agent} usage"})
        except Exception:  # the agent wrote the event, and would send it again for ever
            log.warning("%s: its usage cannot be read", agent, exc_info=True, extra={"limited": f"{agent} usage"})
            if event.value is not _MALFORMED:
                return await self._record(agent, name, event._replace(value=_MALFORMED))
        return True

    async def forget(self, agent: AgentName) -> None:
        """Drop the events of an agent that is destroyed. None is taken until its next hello."""
        self._following.pop(agent, None)
        self._positions.pop(agent, None)
        self._under_way.pop(agent, None)
        self._store.forget(agent)
        await asyncio.to_thread(self._store.flush)  # a destroy that is over has left nothing

    # called by the operator's side
    def watch(self, agent: AgentName, after: str = "") -> Subscription:
        """Return a subscription to what comes from now on. Use it in a `with` block.

        `after` is the position up to which its reader has the events already: those that come again are skipped.
        """
        name, _, id = after.rpartition("-")
        subscription = Subscription(agent, self._subscriptions, name, int(id or 0))
        following = self._following.get(agent)
        if following is not None:
            subscription.bound(following.log, max(following.last, following.latest))
        return subscription

    async def newest(self, agent: AgentName, limit: int) -> list[LiveRow]:
        """Return the agent's newest events, oldest first, with the pieces of the text that is being written."""
        if limit < 1:
            return []
        last, pieces = self._store.last, self._pieces(agent)
        rows = await asyncio.to_thread(self._store.newest, agent, limit)
        return _merged(rows, pieces, last)[-limit:]

    async def after(self, agent: AgentName, position: str, limit: int) -> list[LiveRow] | None:
        """Return the events after a position (`<log>-<id>`), oldest first. None: that event is not kept any more."""
        name, _, id = position.rpartition("-")
        last = self._store.last
        pieces = [row for row in self._pieces(agent) if row.log == name and row.id > int(id)]
        seq = await asyncio.to_thread(self._store.find, agent, name, int(id))
        if seq is None:
            return None
        return _merged(await asyncio.to_thread(self._store.after, agent, seq, limit), pieces, last)[:limit]

    def _pieces(self, agent: AgentName) -> tuple[LiveRow, ...]:
        under_way = self._under_way.get(agent)
        return under_way.rows if under_way is not None else ()

    async def close(self) -> None:
        """Write what is not written yet."""
        await asyncio.to_thread(self._store.close)


def _merged(rows: Sequence[LiveRow], pieces: Sequence[LiveRow], last: int) -> list[LiveRow]:
    """Return rows and pieces in their order, those up to `last`: of later ones the pieces may be missing here."""
    return sorted([*(row for row in rows if row.seq <= last), *pieces])


class Subscription:
    """What one subscriber has not read yet. It has the events of `log` up to `id`."""

    def __init__(
        self, agent: AgentName, subscriptions: dict[AgentName, set[Subscription]], log: str = "", id: int = 0
    ) -> None:
        self._agent = agent
        self._subscriptions = subscriptions
        self._log = log
        self._id = id
        self._rows: deque[LiveRow] = deque()
        self._lagged = False
        self._ready = asyncio.Event()

    def put(self, row: LiveRow) -> None:
        """Take an event, unless the subscriber had it. If too many wait, drop them all: the subscriber learns of it."""
        if row.log == self._log and row.id <= self._id:
            return
        self._log, self._id = row.log, row.id
        if len(self._rows) >= CHANNEL:
            self._rows.clear()
            self._lagged = True
        self._rows.append(row)
        self._ready.set()

    def bound(self, log: str, last: int) -> None:
        """Learn that the newest event of a log is `last`: a log that was set back uses the ids after it again."""
        if log == self._log:
            self._id = min(self._id, last)

    def wake(self) -> None:
        """End the wait, with or without events."""
        self._ready.set()

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._ready.wait()

    def take(self) -> list[LiveRow] | None:
        """Return all that waits. None means resync: events are missing before those that wait now."""
        if self._lagged:
            self._lagged = False
            return None
        rows = list(self._rows)
        self._rows.clear()
        self._ready.clear()
        return rows

    def __enter__(self) -> Subscription:
        self._subscriptions.setdefault(self._agent, set()).add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        members = self._subscriptions.get(self._agent, set())
        members.discard(self)
        if not members:
            self._subscriptions.pop(self._agent, None)
