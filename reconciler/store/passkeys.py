"""The rows of passkeys, as functions of a connection. Each is (part of) one transaction.

A row is never deleted: an audit checks the touches of an old approval against the passkeys of that time.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from reconciler.store.texts import text

_COLUMNS = (
    "id, CAST(owner AS BLOB), uid, CAST(user AS BLOB), CAST(name AS BLOB), public_key, sign_count, added_at, used_at, "
    "removed_at, CAST(coalesce(removed_by, '') AS BLOB), refused_at"
)


@dataclass(frozen=True, slots=True)
class Passkey:
    """One passkey. `id` is the credential's, in base64url; `key` the public key. Times are Unix seconds.

    `owner` is the operator as tags name it; `uid` and `user` are what it is made of.
    `refused_at`: its counter went back.
    """

    id: str
    owner: str
    uid: int | None
    user: str
    name: str
    key: bytes = field(repr=False)
    sign_count: int
    added_at: int
    used_at: int | None = None
    removed_at: int | None = None
    removed_by: str = ""
    refused_at: int | None = None


def insert(connection: sqlite3.Connection, passkey: Passkey) -> bool:
    """Add a passkey. Return False if there is, or was, one with its id."""
    cursor = connection.execute(
        "INSERT INTO passkeys (id, owner, uid, user, name, public_key, sign_count, added_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            passkey.id,
            passkey.owner,
            passkey.uid,
            passkey.user,
            passkey.name,
            passkey.key,
            passkey.sign_count,
            passkey.added_at,
        ),
    )
    return cursor.rowcount > 0


def get(connection: sqlite3.Connection, id: str) -> Passkey | None:
    """Return one passkey that was not removed."""
    found = _select(connection, "id = ? AND removed_at IS NULL", (id,))
    return found[0] if found else None


def present(connection: sqlite3.Connection, owner: str | None = None) -> list[Passkey]:
    """Return the passkeys of an owner (None: of all) that were not removed, oldest first."""
    return _select(connection, "removed_at IS NULL AND (?1 IS NULL OR owner = ?1) ORDER BY added_at, id", (owner,))


def ever(connection: sqlite3.Connection) -> list[Passkey]:
    """Return all passkeys, also removed ones."""
    return _select(connection, "TRUE ORDER BY added_at, id", ())


def use(connection: sqlite3.Connection, id: str, count: int, at: int) -> bool:
    """Record one use with the passkey's counter. Return False if the counter did not grow, and keep the old one.

    A passkey that does not count sends 0 each time.
    """
    cursor = connection.execute(
        "UPDATE passkeys SET sign_count = ?2, used_at = ?3 "
        "WHERE id = ?1 AND removed_at IS NULL AND (sign_count < ?2 OR (sign_count = 0 AND ?2 = 0))",
        (id, count, at),
    )
    return cursor.rowcount > 0


def refuse(connection: sqlite3.Connection, id: str, at: int) -> None:
    """Record that the counter of a passkey went back."""
    connection.execute("UPDATE passkeys SET refused_at = ? WHERE id = ? AND removed_at IS NULL", (at, id))


def refused(connection: sqlite3.Connection) -> list[Passkey]:
    """Return the passkeys whose counter went back and that are still there, oldest first."""
    return _select(connection, "refused_at IS NOT NULL AND removed_at IS NULL ORDER BY refused_at, id", ())


def remove(connection: sqlite3.Connection, id: str, by: str, at: int) -> bool:
    """Mark a passkey as removed. Return False if it is not there."""
    cursor = connection.execute(
        "UPDATE passkeys SET removed_at = ?, removed_by = ? WHERE id = ? AND removed_at IS NULL", (at, by, id)
    )
    return cursor.rowcount > 0


def _select(connection: sqlite3.Connection, where: str, parameters: tuple[object, ...]) -> list[Passkey]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM passkeys WHERE {where}", parameters)  # noqa: S608 - constants
    return [_passkey(row) for row in rows]


def _passkey(row: tuple[object, ...]) -> Passkey:
    id, owner, uid, user, name, key, sign_count, added_at, used_at, removed_at, removed_by, refused_at = row
    what = f"passkey {str(id)[:20]}"
    return Passkey(
        str(id),
        text(owner, f"the owner of {what}"),
        uid if isinstance(uid, int) else None,
        text(user, f"the user of {what}"),
        text(name, f"the name of {what}"),
        key if isinstance(key, bytes) else b"",
        _int(sign_count) or 0,
        _int(added_at) or 0,
        _int(used_at),
        _int(removed_at),
        text(removed_by, f"who removed {what}"),
        _int(refused_at),
    )


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None
