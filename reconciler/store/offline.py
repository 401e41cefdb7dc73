"""Read or copy a database file from outside, beside a daemon or without one.

Nothing is written, and no lock is taken that the daemon would have to wait for.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from meta.errors import HiveError, NotFound, PermanentError
from meta.names import AgentName, ProposalId
from reconciler.store import access, passkeys
from reconciler.store.connection import BUSY_TIMEOUT, translated
from reconciler.store.events import chain
from reconciler.store.events.chain import Chain
from reconciler.store.events.log import EventRow
from reconciler.store.passkeys import Passkey
from reconciler.store.schema import migrations, require_known

DECISIONS = (
    "proposal_approved",
    "proposal_denied",
    "deploy_succeeded",
    "deploy_failed",
    "card_reverted",
    "agent_purged",
)
"""The kinds of events whose content the tags record as well."""
REQUESTS = ("network_denied", "network_covered")
"""The kinds of events that answer a request for a host without a grant: nothing else records those for long."""

_LARGEST_PAGE = 2**16
_WITH_PASSKEYS = 17
"""The first schema with the table of passkeys."""


@dataclass(frozen=True, slots=True)
class Record:
    """The events of a database: the chain, the hash of the requested event, those in DECISIONS and in REQUESTS.

    `passkeys` has also the removed ones, `registrations` the events of their addition and removal that are kept.
    `since` is the Unix time of the oldest event that is kept; 0 if none was pruned.
    """

    chain: Chain
    hash: str | None
    decisions: tuple[EventRow, ...]
    requests: tuple[EventRow, ...] = ()
    passkeys: tuple[Passkey, ...] = ()
    registrations: tuple[EventRow, ...] = ()
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Contents:
    """Cards and memos of a database file. `fault` is the reason why the file is not sound, or "".

    `version` is the file's schema, `known` the newest schema of this hive. `cards` has the state of each id by agent,
    `stamps` the state of the tags that the cards show, `memos` the memo of each agent. With a fault they are empty.
    """

    fault: str = ""
    version: int = 0
    known: int = 0
    cards: dict[AgentName, dict[ProposalId, str]] = field(default_factory=dict)
    stamps: dict[AgentName, str] = field(default_factory=dict)
    memos: dict[AgentName, dict[str, object]] = field(default_factory=dict)


def read_events(path: Path, n: int | None = None) -> Record:
    """Check the chain of events of the database at `path`, and read it in one snapshot.

    Also read the hash of event `n`. Raise NotFound if there is no database. Raise PermanentError if it is damaged, of a
    newer hive, or not readable.
    """
    with _opened(path) as connection, translated(path):
        connection.execute("BEGIN")
        version = _version(connection)
        if not 0 < version <= len(migrations()):
            raise PermanentError(
                f"{path} has schema {version}, this hive knows {len(migrations())}", "use the hive that wrote it"
            )
        verified = chain.verify(connection)
        hash = chain.hash_of(connection, n) if n is not None and verified.chained else None
        return Record(
            verified,
            hash,
            _of_kinds(connection, DECISIONS),
            _of_kinds(connection, REQUESTS),
            tuple(passkeys.ever(connection)) if version >= _WITH_PASSKEYS else (),
            _of_kinds(connection, ("passkey_added", "passkey_removed")),
            _since(connection, verified),
        )


def refuse_newer(path: Path) -> None:
    """Raise NewerState if a newer hive wrote the database at `path`. Write nothing.

    What else may be wrong with it is for the open to find: no database, a damaged one, one without access.
    """
    if not path.is_file():
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(path, "mode=ro&immutable=1")) as connection:
        require_known(path, connection)
    log = path.with_name(f"{path.name}-wal")
    if not log.is_file():
        return
    # Only the write-ahead log may have the newer schema. To read it SQLite writes an index, so it reads a copy.
    with (
        contextlib.suppress(sqlite3.Error, OSError),
        tempfile.TemporaryDirectory(prefix="hive-database-") as folder,
    ):
        copy = Path(folder) / path.name
        _copy_first_page(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        with contextlib.closing(_connect(copy, "mode=rw")) as connection:
            require_known(path, connection)


def _copy_first_page(path: Path, copy: Path) -> None:
    """Make `copy` a sparse file as long as the database at `path`, with the page that has the number of its schema."""
    with path.open("rb") as source, copy.open("wb") as target:
        target.write(source.read(_LARGEST_PAGE))
        target.truncate(os.fstat(source.fileno()).st_size)


def read_contents(path: Path) -> Contents:
    """Check the whole file at `path`, which exists. Read cards and memos. Block until the check is done."""
    known = len(migrations())
    try:
        with _opened(path) as connection:
            version = _version(connection)
            faults = connection.execute("PRAGMA quick_check(1)").fetchone()
            if faults != ("ok",):
                return Contents(str(faults[0]), version, known)
            if version == 0 or version > known:
                return Contents("", version, known)
            cards: dict[AgentName, dict[ProposalId, str]] = {}
            for agent, id, state in connection.execute("SELECT agent, id, state FROM cards"):
                cards.setdefault(agent, {})[id] = state
            stamps = dict(connection.execute("SELECT agent, stamp FROM projections"))
            memos = {agent: _object(text) for agent, text in connection.execute("SELECT agent, memo FROM memos")}
            return Contents("", version, known, cards, stamps, memos)
    except HiveError as error:
        return Contents(error.summary, 0, known)
    except sqlite3.Error as error:
        return Contents(str(error), 0, known)


def copy(source: Path, target: Path) -> None:
    """Copy the database at `source`, as it is at one moment, to the file `target`, without side files.

    The copy has no logins of the dashboard.
    """
    with _opened(source) as connection, translated(source):
        out = sqlite3.connect(target, isolation_level=None)
        try:
            connection.backup(out)
            out.execute("PRAGMA journal_mode = DELETE")
            access.forget_all(out)
        finally:
            out.close()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection that only reads. Raise NotFound."""
    if not path.is_file():
        raise NotFound(f"there is no database at {path}", "check that --state names the state directory")
    # Without a write-ahead log no daemon has the file open; "immutable" then makes no side files either.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    with translated(path):
        connection = _connect(path, mode)
    try:
        yield connection
    finally:
        connection.close()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _of_kinds(connection: sqlite3.Connection, kinds: tuple[str, ...]) -> tuple[EventRow, ...]:
    marks = ", ".join("?" * len(kinds))
    rows = connection.execute(
        f"SELECT n, at, kind, agent, data FROM events WHERE kind IN ({marks}) ORDER BY n",  # noqa: S608 - only marks
        kinds,
    )
    return tuple(EventRow(n, at, kind, agent, _object(text)) for n, at, kind, agent, text in rows)


def _since(connection: sqlite3.Connection, verified: Chain) -> float:
    if verified.first <= 1:
        return 0.0
    oldest = connection.execute("SELECT at FROM events ORDER BY n LIMIT 1").fetchone()
    return math.inf if oldest is None else float(oldest[0])


def _object(text: str) -> dict[str, object]:
    """Return the JSON object in `text`.

    Return {} if it does not decode, because the chain reports a row that was changed.
    """
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
