"""The end of a delivery without an ack: a requeue by the receiver, or a launch that died. Both count attempts.

A failed turn counts: the receiver's launch died by itself, hive ended a turn that took too long, or the receiver that
took the message gave it back. What hive causes counts nothing: a stop, a deploy, a restart of the host or of the
daemon. If hive does not know the receiver's launch, it counts the return, and allows more of those. What the receiver
releases counts nothing either: its API is down, say, or it has no login.

The sender of a dead letter is told, if it is an agent.

If several messages were in flight, each of them counts the failed turn. From then on each is delivered alone
(rows.deliver), so an innocent one is acknowledged and only the guilty one fails again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from meta.wire.events import MessageDead
from reconciler.store.events import log
from reconciler.store.messages import rows
from reconciler.store.messages.rows import Lease
from reconciler.store.messages.text import decode_name
from reconciler.store.notices import notify

FAILURES = 3
"""Failed turns of one message. After the last it is a dead letter."""

RETURNS = 5
"""Returns of one message for an unknown reason. After the last it is a dead letter."""

BURIED_EVENTS = 20
"""Events of the messages of an agent that never came to be, at most. `hive dead-letters` lists all of them."""


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """How many `failures` make a dead letter, and since which Unix second this daemon has delivered."""

    failures: int = FAILURES
    since: int = 0


_IN_FLIGHT = "recipient = :recipient AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL"


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of all deliveries to `recipient` that are not under `leases`, at the Unix second `at`.

    `launch` is the launch that gives them back, or that died; None if it is unknown. A delivery at or before `since`
    was made by an earlier daemon, so its answer may be lost. `failures`: failed turns until a message is a dead letter.
    At most `events` dead letters append an event. `known` returns True for an agent, which has an inbox.
    """

    recipient: str
    at: int
    launch: str | None = None
    leases: tuple[Lease, ...] = ()
    since: int = 0
    failures: int = FAILURES
    events: int = 0
    known: Callable[[str], bool] = bool


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of the messages: how many wait again, how many are dead letters now, and which senders were told.

    `kept`: how many of those that were named are in flight all the same. `failed`: one of them that waits again and has
    failed turns.
    """

    again: int = 0
    dead: int = 0
    kept: int = 0
    failed: int | None = None
    told: frozenset[str] = frozenset()


def requeue(connection: sqlite3.Connection, ending: Ending) -> Ended:
    """Requeue every message in flight, because its receiver asked for that.

    It is a failed turn if the launch that took the message gives it back. If another launch does, the turn of the
    former one ended without its fault: its death is counted by `fail`.
    """
    ids = _select(connection, ending, "TRUE")
    connection.execute(
        "UPDATE messages SET failed = failed + (incarnation IS :launch AND :launch IS NOT NULL "
        "AND delivered_at > :since), returned = returned + (incarnation IS NULL OR :launch IS NULL) "
        "WHERE id IN (SELECT value FROM json_each(:ids))",
        {"launch": ending.launch, "since": ending.since, "ids": ids},
    )
    return _give_back(connection, ending, ids)


def release(connection: sqlite3.Connection, ending: Ending, only: Collection[int] | None = None) -> Ended:
    """Requeue what `launch` has in flight, because it could not even begin with it. Count nothing.

    `only` names the messages by their ids; None: all of them. One that another launch has, or that has a lease, stays
    in flight.
    """
    ids = _select(connection, ending, "(incarnation IS :launch OR incarnation IS NULL)", only)
    again = _deliver_again(connection, ids)
    (kept,) = connection.execute(
        f"SELECT count(*) FROM messages WHERE {_IN_FLIGHT} "  # noqa: S608 - it is a text of this file
        "AND id IN (SELECT value FROM json_each(:only))",
        {"recipient": ending.recipient, "only": json.dumps([*(only or ())])},
    ).fetchone()
    (failed,) = connection.execute(
        "SELECT min(id) FROM messages WHERE id IN (SELECT value FROM json_each(?)) AND failed > 0", (ids,)
    ).fetchone()
    return Ended(again, kept=kept, failed=None if only is None else failed)


def fail(connection: sqlite3.Connection, ending: Ending) -> Ended:
    """Requeue what was in flight to a launch that died in its turn, and count a failed turn. Idempotent.

    A receiver that never acknowledges has no turns, so that nothing is counted.
    """
    if not rows.acknowledges(connection, ending.recipient):
        return Ended()
    ids = _select(connection, ending, "(incarnation IS :launch OR incarnation IS NULL)")
    connection.execute(
        "UPDATE messages SET failed = failed + 1 WHERE id IN (SELECT value FROM json_each(:ids))", {"ids": ids}
    )
    return _give_back(connection, ending, ids)


def bury_all(connection: sqlite3.Connection, recipient: str, at: int, reason: str) -> int:
    """Make dead letters of all messages that `recipient` did not acknowledge. Return how many. Idempotent."""
    dead = connection.execute(
        "SELECT id, CAST(sender AS BLOB) FROM messages WHERE recipient = ? AND acked_at IS NULL AND dead_at IS NULL "
        "ORDER BY id",
        (recipient,),
    ).fetchall()
    for place, (id, sender) in enumerate(dead):
        connection.execute("UPDATE messages SET delivered_at = NULL, dead_at = ? WHERE id = ?", (at, id))
        if place < BURIED_EVENTS:
            data = {"id": id, "from": decode_name(sender), "reason": reason}
            log.append(connection, at, "message_dead", recipient, data)
    return len(dead)


def _select(connection: sqlite3.Connection, ending: Ending, condition: str, only: Collection[int] | None = None) -> str:
    """Return the ids of the messages in flight that meet `condition`, and that are in `only`, as a JSON list."""
    found = connection.execute(
        f"SELECT id FROM messages WHERE {_IN_FLIGHT} AND {condition} "  # noqa: S608 - both are texts of this file
        "AND id NOT IN (SELECT value FROM json_each(:leased)) "
        "AND (:only IS NULL OR id IN (SELECT value FROM json_each(:only)))",
        {
            "recipient": ending.recipient,
            "launch": ending.launch,
            "leased": rows.ids_of(ending.leases),
            "only": None if only is None else json.dumps([*only]),
        },
    )
    return json.dumps([id for (id,) in found])


def _give_back(connection: sqlite3.Connection, ending: Ending, ids: str) -> Ended:
    """Let these messages wait again, or make dead letters of those that had their last attempt.

    `attempts` stays, so the next delivery is marked as redelivered.
    """
    dead = connection.execute(
        "SELECT id, CAST(sender AS BLOB), attempts, failed, CAST(substr(body, 1, 200) AS BLOB) FROM messages "
        "WHERE id IN (SELECT value FROM json_each(?)) AND (failed >= ? OR returned >= ?)",
        (ids, ending.failures, RETURNS),
    ).fetchall()
    told = _bury(connection, ending, dead)
    return Ended(_deliver_again(connection, ids), len(dead), told=told)


def _deliver_again(connection: sqlite3.Connection, ids: str) -> int:
    return connection.execute(
        "UPDATE messages SET delivered_at = NULL WHERE id IN (SELECT value FROM json_each(?)) AND dead_at IS NULL",
        (ids,),
    ).rowcount


def _bury(
    connection: sqlite3.Connection, ending: Ending, dead: Iterable[tuple[int, bytes, int, int, bytes]]
) -> frozenset[str]:
    told = set()
    for place, (id, sender, attempts, failed, body) in enumerate(dead):
        connection.execute("UPDATE messages SET delivered_at = NULL, dead_at = ? WHERE id = ?", (ending.at, id))
        if place < ending.events:
            data = {"id": id, "from": decode_name(sender), "attempts": attempts, "failed": failed}
            log.append(connection, ending.at, "message_dead", ending.recipient, data)
        name = decode_name(sender)
        if ending.known(name):
            beginning = body.decode("utf-8", "replace")
            event = MessageDead(id=id, to=ending.recipient, body=beginning, attempts=attempts)
            notify(connection, name, event, ending.at)
            told.add(name)
    return frozenset(told)
