"""The chain of events: each row's hash covers the row and the hash before it, so that no row changes unnoticed.

    hash(n) = SHA-256 of the JSON list [hash(n-1), n, at, kind, agent, data as it is stored]

The first event is chained to the database's uuid. Pruning keeps the hash of the last pruned event as the anchor. The
hash does not cover the key, because a key can be released and used again. A program that can write the file can compute
the whole chain again. A head that was noted elsewhere (`hive audit verify --json`) reveals that.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass

_COLUMNS = "n, at, kind, agent, data"


@dataclass(frozen=True, slots=True)
class Chain:
    """The result of checking a chain. Events `first` to `last` are kept; `head` is the newest hash.

    `broken`: the number of the first event that does not fit, and why; None if all fit. `chained` is False for a
    database of a hive without a chain. The next event chains it.
    """

    uuid: str
    first: int
    last: int
    head: str
    broken: tuple[int, str] | None = None
    chained: bool = True


def genesis(uuid: str) -> str:
    """Return the hash that the first event of a database is chained to."""
    return hashlib.sha256(f"hive events {uuid}".encode()).hexdigest()


def link(before: str | None, n: int, at: float, kind: str, agent: str | None, data: str) -> str:
    """Return the hash of one event. `data` is the JSON text as it is stored."""
    row = json.dumps([before, n, float(at), kind, agent, data], separators=(",", ":"))
    return hashlib.sha256(row.encode()).hexdigest()


def head(connection: sqlite3.Connection) -> str | None:
    """Return the hash that the next event is chained to. Chain the rows of a hive without a chain first."""
    anchor = _anchor(connection)
    if anchor is None:
        anchor = _begin(connection)
    newest = connection.execute("SELECT hash FROM events ORDER BY n DESC LIMIT 1").fetchone()
    return anchor[1] if newest is None else newest[0]


def seal(connection: sqlite3.Connection, n: int, before: str | None) -> None:
    """Set the hash of event `n`, which was just appended after `before`."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM events WHERE n = ?", (n,)).fetchone()  # noqa: S608 - constant
    connection.execute("UPDATE events SET hash = ? WHERE n = ?", (link(before, *row), n))


def forget(connection: sqlite3.Connection, upto: int) -> None:
    """Delete the events up to and including `upto`. The hash of the last one stays as the anchor."""
    head(connection)
    last = connection.execute("SELECT n, hash FROM events WHERE n <= ? ORDER BY n DESC LIMIT 1", (upto,)).fetchone()
    if last is None:
        return
    connection.execute("UPDATE event_anchor SET n = ?, hash = ?", (last[0], last[1] or ""))
    connection.execute("DELETE FROM events WHERE n <= ?", (upto,))


def verify(connection: sqlite3.Connection) -> Chain:
    """Check every link without writing. Run it in one snapshot."""
    uuid = _uuid(connection)
    newest = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    last = int(newest[0]) if newest else 0
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    anchor = _anchor(connection) if version >= 6 else None
    if anchor is None:
        oldest = connection.execute("SELECT min(n) FROM events").fetchone()[0]
        first = last + 1 if oldest is None else oldest
        if version >= 6 and _hashed(connection):
            return Chain(uuid, first, last, "", (first, "the hash that the first event was chained to is missing"))
        return Chain(uuid, first, last, "", chained=last == 0)
    at, before = anchor
    first = at + 1
    if at == 0 and before != genesis(uuid):
        return Chain(uuid, first, last, before, (first, "the chain does not begin with this database's uuid"))
    for row in connection.execute(f"SELECT {_COLUMNS}, hash FROM events ORDER BY n"):  # noqa: S608 - constant
        n, stored = row[0], row[5]
        if n != at + 1:
            return Chain(uuid, first, last, before, (at + 1, f"events {at + 1} to {n - 1} are missing"))
        if stored != link(before, *row[:5]):
            return Chain(uuid, first, last, before, (n, f"event {n} or the hash before it was changed"))
        at, before = n, stored
    if at != last:
        return Chain(uuid, first, last, before, (at + 1, f"events {at + 1} to {last} are missing at the end"))
    return Chain(uuid, first, last, before)


def hash_of(connection: sqlite3.Connection, n: int) -> str | None:
    """Return the stored hash of event `n`, even if it is the anchor. Return None if it is not kept."""
    row = connection.execute("SELECT hash FROM events WHERE n = ?", (n,)).fetchone()
    if row is not None:
        return None if row[0] is None else str(row[0])
    anchor = _anchor(connection)
    return anchor[1] if anchor is not None and anchor[0] == n else None


def _begin(connection: sqlite3.Connection) -> tuple[int, str]:
    """Set the anchor, and chain the rows that exist already."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM events ORDER BY n").fetchall()  # noqa: S608 - constant
    newest = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    last = int(newest[0]) if newest else 0
    begun = (rows[0][0] - 1 if rows else last, genesis(_uuid(connection)))
    connection.execute("INSERT INTO event_anchor (one, n, hash) VALUES (1, ?, ?)", begun)
    if _hashed(connection):
        return begun  # their anchor was removed: chaining them again would hide that
    before, hashes = begun[1], []
    for row in rows:
        before = link(before, *row)
        hashes.append((before, row[0]))
    connection.executemany("UPDATE events SET hash = ? WHERE n = ?", hashes)
    return begun


def _anchor(connection: sqlite3.Connection) -> tuple[int, str] | None:
    row = connection.execute("SELECT n, hash FROM event_anchor").fetchone()
    return None if row is None else (int(row[0]), str(row[1]))


def _hashed(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM events WHERE hash IS NOT NULL LIMIT 1").fetchone() is not None


def _uuid(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
    return "" if row is None else str(row[0])
