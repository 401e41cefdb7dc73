"""The rows of events, as functions of a connection: any transaction can append one.

Each row is chained to the row before it, see chain.py.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from meta.errors import BadInput
from reconciler.store.events import chain, helper_events
from reconciler.store.events.keys import Key, Prefix
from reconciler.store.events.kinds import EVENT_KINDS

logger = logging.getLogger(__name__)

KEEP = 250_000
"""Events that are kept. Older ones are pruned, and a subscriber that resumes before them has to resync.

An agent causes at most 6 a minute (reconciler/common/token_bucket.py). At that rate it replaces all of them in 4 weeks.
"""

_PRUNE_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event. `n` counts from 1 without gaps; `at` is in Unix seconds; `data` is a JSON object."""

    n: int
    at: float
    kind: str
    agent: str | None
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Extent:
    """The events that are kept: `first` to `last`. If there are none, first = last + 1."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted: of one agent, of some kinds, between two Unix times. An empty value wants all."""

    agent: str | None = None
    kinds: frozenset[str] = frozenset()
    since: float = 0.0
    until: float = math.inf

    def matches(self, kind: str, agent: str | None, at: float) -> bool:
        """Return True if an event is wanted."""
        wanted = (self.agent is None or agent == self.agent) and (not self.kinds or kind in self.kinds)
        return wanted and self.since <= at <= self.until


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and the extent of the sequence at that moment."""

    extent: Extent
    rows: list[EventRow]


def append(
    connection: sqlite3.Connection,
    at: float,
    kind: str,
    agent: str | None,
    data: Mapping[str, object],
    key: Key | None = None,
) -> EventRow | None:
    """Append one event and the helper events for the manager. Return None if an event with this key exists already.

    Raise BadInput for a kind that is not in EVENT_KINDS, and for data that is not JSON.
    """
    if kind not in EVENT_KINDS:
        raise BadInput(f"{kind!r} is not a kind of event", "add it to EVENT_KINDS and to docs/reference/events.md")
    try:
        text = json.dumps(dict(data), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the data of the event {kind!r} is not JSON: {error}") from error
    # Asking first, instead of INSERT OR IGNORE, keeps the numbers free of gaps. There is one writer.
    if key is not None and connection.execute("SELECT 1 FROM events WHERE key = ?", (key,)).fetchone():
        return None
    before = chain.head(connection)
    cursor = connection.execute(
        "INSERT INTO events (at, kind, agent, data, key) VALUES (?, ?, ?, ?, ?)", (at, kind, agent, text, key)
    )
    n = cursor.lastrowid or 0
    chain.seal(connection, n, before)
    if n % _PRUNE_EVERY == 0:
        prune(connection, KEEP)
    row = EventRow(n, at, kind, agent, json.loads(text))
    helper_events.notify_manager(connection, n, at, kind, agent, row.data)
    return row


def release(connection: sqlite3.Connection, key: Key) -> None:
    """Release a key, so that it can be used again. The event that had it stays."""
    connection.execute("UPDATE events SET key = NULL WHERE key = ?", (key,))


def release_all(connection: sqlite3.Connection, prefix: Prefix) -> None:
    """Release every key with this prefix, so that it can be used again."""
    connection.execute("UPDATE events SET key = NULL WHERE key >= ? AND key < ?", range_of(prefix))


def range_of(prefix: Prefix) -> tuple[str, str]:
    """Return the bounds of the keys with this prefix: from the first (included) to the second (excluded)."""
    return prefix, f"{prefix[:-1]};"  # ";" follows ":" in ASCII


def extent(connection: sqlite3.Connection) -> Extent:
    """Return the extent of the events that are kept."""
    newest = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    last = int(newest[0]) if newest else 0
    oldest = connection.execute("SELECT min(n) FROM events").fetchone()[0]
    return Extent(last + 1 if oldest is None else int(oldest), last)


def after(connection: sqlite3.Connection, n: int, limit: int, upto: int | None = None) -> list[EventRow]:
    """Return the events after number `n`, up to and including `upto`, oldest first."""
    rows = connection.execute(
        "SELECT n, at, kind, agent, data FROM events WHERE n > ? AND n <= ? ORDER BY n LIMIT ?",
        (n, 2**63 - 1 if upto is None else upto, limit),
    )
    return [EventRow(row[0], row[1], row[2], row[3], _decode(row[0], row[4])) for row in rows]


def matching(
    connection: sqlite3.Connection, n: int | None, limit: int, only: Filter, before: int | None = None
) -> Page:
    """Return the first `limit` wanted events after `n`, or the last ones without an `n`, with the extent.

    `before`: only those with a smaller number.
    """
    kept = extent(connection)
    wanted = (
        "SELECT n, at, kind, agent, data FROM events WHERE n > :n AND n < :before AND at BETWEEN :since AND :until "
        "AND (:agent IS NULL OR agent = :agent) AND (:all OR kind IN (SELECT value FROM json_each(:kinds))) "
    )
    rows = connection.execute(
        wanted + ("ORDER BY n DESC LIMIT :limit" if n is None else "ORDER BY n LIMIT :limit"),
        {
            "n": n or 0,
            "before": kept.last + 1 if before is None else before,
            "since": only.since,
            "until": only.until,
            "agent": only.agent,
            "all": not only.kinds,
            "kinds": json.dumps(sorted(only.kinds)),
            "limit": limit,
        },
    ).fetchall()
    events = [EventRow(row[0], row[1], row[2], row[3], _decode(row[0], row[4])) for row in rows]
    return Page(kept, events[::-1] if n is None else events)


def page(connection: sqlite3.Connection, n: int | None, limit: int, upto: int | None = None) -> Page:
    """Return the events after `n` with the extent of the sequence, in one snapshot.

    Without an `n` begin with the oldest.
    """
    kept = extent(connection)
    return Page(kept, after(connection, kept.first - 1 if n is None else n, limit, upto))


def prune(connection: sqlite3.Connection, keep: int) -> None:
    """Remove all but the newest `keep` events. The chain continues from the last one that was removed."""
    chain.forget(connection, extent(connection).last - keep)


def _decode(n: int, text: str) -> dict[str, object]:
    """Decode the data of a row. Show a damaged row as `undecodable`, because leaving it out would be a silent gap."""
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if isinstance(data, dict):
        return data
    logger.error("the data of event %d is not a JSON object", n)
    return {"undecodable": text[:200]}
