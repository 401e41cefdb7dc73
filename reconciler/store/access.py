"""The rows of the dashboard's links and sessions, as functions of a connection. Each is (part of) one transaction."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass

from reconciler.store.texts import text

LINKS_MOST = 100
"""Links that nobody has used yet: at most this many are kept, the newest."""

_COLUMNS = "id, hash, uid, CAST(user AS BLOB), CAST(how AS BLOB), CAST(browser AS BLOB), made_at, used_at"
_SECRET = "dashboard_secret"  # noqa: S105 - its name, not the secret


@dataclass(frozen=True, slots=True)
class Session:
    """One login of a browser. Times are Unix seconds; `used_at` may be minutes old.

    `uid` is that of the user who made the link; None for a `user` whom a reverse proxy named. `how` is `link` or
    `passkey`, `browser` what the browser calls itself.
    """

    id: int
    hash: bytes
    uid: int | None
    user: str
    how: str
    browser: str
    made_at: int
    used_at: int


def secret(connection: sqlite3.Connection) -> bytes:
    """Return the random secret of this database, from which CSRF tokens are made. Make it if it is missing."""
    connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", (_SECRET, secrets.token_hex(32)))
    made = known_secret(connection)
    if made is None:
        raise LookupError("it was added in this transaction")
    return made


def known_secret(connection: sqlite3.Connection) -> bytes | None:
    """Return the secret; None if it was not made yet."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_SECRET,)).fetchone()
    return None if row is None else bytes.fromhex(row[0])


def add_link(connection: sqlite3.Connection, hash: bytes, uid: int, ends_at: int, now: int) -> None:
    """Add a link. Remove those that are over, and the oldest beyond LINKS_MOST."""
    connection.execute("DELETE FROM dashboard_links WHERE ends_at <= ?", (now,))
    connection.execute("INSERT INTO dashboard_links (hash, uid, ends_at) VALUES (?, ?, ?)", (hash, uid, ends_at))
    newest = "SELECT hash FROM dashboard_links ORDER BY ends_at DESC LIMIT ?"
    connection.execute(f"DELETE FROM dashboard_links WHERE hash NOT IN ({newest})", (LINKS_MOST,))  # noqa: S608 - constant


def take_link(connection: sqlite3.Connection, hash: bytes, now: int) -> int | None:
    """Remove a link, and return the uid of who made it; None if there is none with this hash, or it is over."""
    row = connection.execute("DELETE FROM dashboard_links WHERE hash = ? RETURNING uid, ends_at", (hash,)).fetchone()
    return int(row[0]) if row is not None and now < row[1] else None


def owner_of_link(connection: sqlite3.Connection, hash: bytes, now: int) -> int | None:
    """Return the uid of who made a link, and leave it; None if there is none with this hash, or it is over."""
    query = "SELECT uid FROM dashboard_links WHERE hash = ? AND ends_at > ?"
    row = connection.execute(query, (hash, now)).fetchone()
    return None if row is None else int(row[0])


def add_session(connection: sqlite3.Connection, session: Session) -> Session:
    """Add a session, and return it with its id. The given id is not used."""
    cursor = connection.execute(
        "INSERT INTO dashboard_sessions (hash, uid, user, how, browser, made_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (session.hash, session.uid, session.user, session.how, session.browser, session.made_at, session.used_at),
    )
    added = get(connection, cursor.lastrowid or 0)
    assert added is not None, "it was added in this transaction"  # noqa: S101
    return added


def get(connection: sqlite3.Connection, id: int) -> Session | None:
    """Return the session with this id."""
    found = _select(connection, "id = ?", (id,))
    return found[0] if found else None


def find(connection: sqlite3.Connection, hash: bytes) -> Session | None:
    """Return the session of the cookie with this hash."""
    found = _select(connection, "hash = ?", (hash,))
    return found[0] if found else None


def sessions(connection: sqlite3.Connection) -> list[Session]:
    """Return all sessions, the one that was used last first."""
    return _select(connection, "true ORDER BY used_at DESC, id DESC", ())


def touch(connection: sqlite3.Connection, id: int, at: int) -> None:
    """Record that a session was used."""
    connection.execute("UPDATE dashboard_sessions SET used_at = ? WHERE id = ? AND used_at < ?", (at, id, at))


def remove(connection: sqlite3.Connection, id: int) -> bool:
    """Remove a session. Return False if there is none."""
    return connection.execute("DELETE FROM dashboard_sessions WHERE id = ?", (id,)).rowcount > 0


def forget_all(connection: sqlite3.Connection) -> None:
    """Remove all links and sessions from a copy of the database: putting it back must not revive what was ended."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'dashboard_sessions'").fetchone():
        return  # an older hive's
    connection.execute("DELETE FROM dashboard_links")
    connection.execute("DELETE FROM dashboard_sessions")
    connection.execute("DELETE FROM meta WHERE name = ?", (_SECRET,))


def _select(connection: sqlite3.Connection, where: str, parameters: tuple[object, ...]) -> list[Session]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM dashboard_sessions WHERE {where}", parameters)  # noqa: S608
    return [
        Session(
            id,
            hash,
            uid,
            text(user, f"the user of session {id}"),
            text(how, f"how session {id} began"),
            text(browser, f"the browser of session {id}"),
            made_at,
            used_at,
        )
        for id, hash, uid, user, how, browser, made_at, used_at in rows
    ]
