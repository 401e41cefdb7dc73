"""Another look at a database file, beside the daemon or without one: read it, or copy it whole.

Nothing of it is written, not even a lock that the daemon would wait for.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from meta.errors import NotFound, PermanentError
from reconciler.store.connection import BUSY_TIMEOUT, translated
from reconciler.store.events import chain
from reconciler.store.events.chain import Chain
from reconciler.store.events.log import EventRow
from reconciler.store.schema import migrations

DECIDED = ("proposal_approved", "proposal_denied", "deploy_succeeded", "deploy_failed", "card_reverted", "agent_purged")
"""The kinds of event that say what the tags say as well."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the events say: their chain, the hash of one of them that was asked for, and those in DECIDED."""

    chain: Chain
    known: str | None
    decided: tuple[EventRow, ...]


def examine(path: Path, known: int | None = None) -> Told:
    """Check the chain of the database at `path` and read what it tells, in one snapshot.

    NotFound when there is none; PermanentError when it is damaged, of a newer hive, or may not be read.
    """
    with _opened(path) as connection, translated(path):
        connection.execute("BEGIN")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if not 0 < version <= len(migrations()):
            raise PermanentError(f"{path} has schema {version}, this hive knows {len(migrations())}", "use its hive")
        found = chain.verify(connection)
        return Told(found, _known(connection, found, known), _decided(connection))


def copy(source: Path, target: Path) -> None:
    """Copy the database at `source` as it is at one moment to `target`, a file of its own without side files."""
    with _opened(source) as connection, translated(source):
        out = sqlite3.connect(target, isolation_level=None)
        try:
            connection.backup(out)
            out.execute("PRAGMA journal_mode = DELETE")
        finally:
            out.close()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. Without a write-ahead log nobody has it open, so no side file is made either."""
    if not path.is_file():
        raise NotFound(f"there is no database at {path}", "is that the state directory?")
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    with translated(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?{mode}", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None
        )
    try:
        yield connection
    finally:
        connection.close()


def _known(connection: sqlite3.Connection, found: Chain, n: int | None) -> str | None:
    return chain.hash_of(connection, n) if n is not None and found.chained else None


def _decided(connection: sqlite3.Connection) -> tuple[EventRow, ...]:
    marks = ", ".join("?" * len(DECIDED))
    rows = connection.execute(
        f"SELECT n, at, kind, agent, data FROM events WHERE kind IN ({marks}) ORDER BY n",  # noqa: S608 - only marks
        DECIDED,
    )
    return tuple(EventRow(n, at, kind, agent, _object(text)) for n, at, kind, agent, text in rows)


def _object(text: str) -> dict[str, object]:
    """What does not decode has been changed, which the chain tells."""
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
