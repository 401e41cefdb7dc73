"""The rows of the broker on their way from send to ack, as functions of a connection. Each is (part of) a transaction.

waiting: neither delivered nor dead; in flight: delivered, not acked; done: acked; dead: see messagelists.
Texts are read as bytes, so that a damaged row is shown (messagetext) and does not hide the others.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from meta.names import OPERATOR
from reconciler.store.events import log
from reconciler.store.messages.notices import LEAST_SIZE, key_used, use_key
from reconciler.store.messages.text import WAKE, Delivery, delivery, name

DONE_KEPT = 1_000
"""Messages per inbox that are kept after they are done, for `recent`."""

LEAST_SHARE = 25
LEAST_SHARE_BYTES = 2**20
"""What one sender may have in an inbox however small that is: less would refuse what alone is allowed."""

RESERVED_FROM = 8 * 2**20
"""Bytes of an inbox that is large enough to keep a part of it for the operator."""

MISSED_TOLD = 50
"""Names of those that a broadcast did not reach, in its event."""

ATTEMPTS = 5
"""How often a message is handed out; not acked after the last of them, it is a dead letter."""

OLD_HOLDS = 100
"""Messages that an inbox keeps in flight for a receiver that never acks; before those, they are done."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one inbox: how many messages may wait, and what those that are not done may have together in bytes.

    One sender has a share of it, so that it shuts out no other; and the last of it is the operator's.
    """

    waiting: int
    size: int

    @property
    def share(self) -> tuple[int, int]:
        """Messages that are not done, and bytes, that one sender may have in it: a quarter, but enough for some."""
        return max(self.waiting // 4, LEAST_SHARE), max(self.size // 4, LEAST_SHARE_BYTES)

    def room(self, sender: str) -> tuple[int, int]:
        """Messages and bytes that there may be when one of this sender's is to come."""
        if sender == OPERATOR:
            return self.waiting, self.size
        return self.waiting - self.waiting // 8, self.size - (self.size // 8 if self.size >= RESERVED_FROM else 0)


@dataclass(slots=True, eq=False)
class HandOut:
    """One attempt to hand a message to a receiver, until its receiver has seen it.

    `id` is set in the writer's thread, so that an ack which is run after this attempt knows what it is not for.
    """

    agent: str
    incarnation: str | None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that is to be accepted, for each of `recipients`. `to` is what was asked for: a name, or '*'.

    `quiet`: no event tells whom a broadcast misses.
    """

    sender: str
    to: str
    recipients: Sequence[str]
    body: str
    at: int
    origin: str
    key: str | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """`id` of the first copy. `full`: recipients whose inboxes are full; then nothing was stored.

    `missed`: those of a broadcast that others got. `handed`: what receivers that waited got in the same transaction.
    """

    id: int
    full: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    handed: Mapping[str, Delivery] | None = None


def accept(connection: sqlite3.Connection, letter: Letter, quota: Quota, receivers: Mapping[str, HandOut]) -> Accepted:
    """Store a letter for those recipients whose inboxes have room, and hand each waiting receiver the oldest of its
    inbox. Of a broadcast that misses some there is an event, unless `letter.quiet`."""
    if letter.key is not None:
        before = key_used(connection, letter.sender, letter.to, letter.key)
        if before is not None:
            return Accepted(before)
    size = max(LEAST_SIZE, len(letter.body.encode()))
    reached = [each for each in letter.recipients if _has_room(connection, letter, each, size, quota)]
    missed = tuple(each for each in letter.recipients if each not in reached)
    if not reached:
        return Accepted(0, missed)
    ids = [_insert(connection, letter, recipient, size) for recipient in reached]
    if missed and not letter.quiet:
        agent = None if letter.sender == OPERATOR else letter.sender
        data = {"id": ids[0], "missed": list(missed[:MISSED_TOLD]), "count": len(missed)}
        log.append(connection, letter.at, "broadcast_missed", agent, data)
    if letter.key is not None:
        use_key(connection, letter.sender, letter.to, letter.key, ids[0], letter.at)
    handed = {}
    for agent, hand_out in receivers.items():
        taken = take(connection, hand_out, letter.at)
        if taken is not None:
            handed[agent] = taken
    return Accepted(ids[0], missed=missed, handed=handed)


def _insert(connection: sqlite3.Connection, letter: Letter, recipient: str, size: int) -> int:
    id = connection.execute(
        "INSERT INTO messages (sender, recipient, body, at, size, origin, broadcast) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (letter.sender, recipient, letter.body, letter.at, size, letter.origin, letter.to == "*"),
    ).lastrowid
    if recipient == OPERATOR:
        log.append(connection, letter.at, "operator_message", letter.sender, {"id": id})
    return id or 0


def _has_room(connection: sqlite3.Connection, letter: Letter, recipient: str, size: int, quota: Quota) -> bool:
    """What was handed out and not acked counts too: else an agent that only takes fills the disk."""
    count, total = connection.execute(_HELD, (recipient,)).fetchone()
    waiting, room = quota.room(letter.sender)
    if total + size > room or (count >= waiting and count_waiting(connection, recipient) >= waiting):
        return False
    most, share = quota.share
    if letter.sender == OPERATOR or (count < most and total + size <= share):
        return True  # no sender can have more than that
    return _has_share(connection, letter, recipient, size, most, share)


_HELD = "SELECT count(*), coalesce(sum(size), 0) FROM messages WHERE recipient = ? AND acked_at IS NULL"


def _has_share(
    connection: sqlite3.Connection, letter: Letter, recipient: str, size: int, most: int, share: int
) -> bool:
    """Whatever in a container calls itself something by `wake` is one sender."""
    first, last = (WAKE, WAKE + "~") if letter.origin == "wake" else (letter.sender, letter.sender)
    count, total = connection.execute(f"{_HELD} AND sender BETWEEN ? AND ?", (recipient, first, last)).fetchone()
    return bool(count < most and total + size <= share)


def take(connection: sqlite3.Connection, hand_out: HandOut, at: int) -> Delivery | None:
    """Hand out the oldest waiting message; None when there is none."""
    hand_out.id = None
    row = connection.execute(
        "SELECT id, CAST(sender AS BLOB), CAST(body AS BLOB), attempts, CAST(origin AS BLOB), broadcast FROM messages "
        "WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL ORDER BY id LIMIT 1",
        (hand_out.agent,),
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE messages SET delivered_at = ?, attempts = attempts + 1, incarnation = ? WHERE id = ?",
        (at, hand_out.incarnation, row[0]),
    )
    hand_out.id = row[0]
    return delivery(row)


def put_back(connection: sqlite3.Connection, id: int, *, seen: bool) -> None:
    """It waits again; unless it may have been `seen`, as if it had never been handed out."""
    connection.execute(
        "UPDATE messages SET delivered_at = NULL, attempts = max(attempts - ?, 0) "
        "WHERE id = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL",
        (0 if seen else 1, id),
    )


def ack(connection: sqlite3.Connection, recipient: str, at: int, quota: Quota, unseen: Iterable[HandOut] = ()) -> int:
    """Everything in flight is done, but for what its receiver cannot have seen yet."""
    count = connection.execute(
        "UPDATE messages SET acked_at = ? "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL "
        "AND id NOT IN (SELECT value FROM json_each(?))",
        (at, recipient, _ids(unseen)),
    ).rowcount
    if count:
        _prune(connection, recipient, quota)
    return count


def ack_old(connection: sqlite3.Connection, recipient: str, at: int, quota: Quota) -> None:
    """For a receiver that never acks: of what it was handed the newest is kept in flight, all else is done.

    OLD_HOLDS messages, with half of the quota's bytes: such a receiver does not fill its inbox.
    """
    rows = connection.execute(
        "SELECT id, size FROM messages "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL "
        "ORDER BY id DESC",
        (recipient,),
    )
    total = 0
    for place, (id, size) in enumerate(rows):
        total += size
        if place >= OLD_HOLDS or total > quota.size // 2:
            rows.close()
            connection.execute(
                "UPDATE messages SET acked_at = ? WHERE recipient = ? AND delivered_at IS NOT NULL "
                "AND acked_at IS NULL AND dead_at IS NULL AND id <= ?",
                (at, recipient, id),
            )
            _prune(connection, recipient, quota)
            return


def requeue(
    connection: sqlite3.Connection, recipient: str, at: int, unseen: Iterable[HandOut], told: int
) -> tuple[int, int]:
    """Everything in flight waits again; `attempts` stays, so the next hand-out is a redelivery.

    What had its last attempt is a dead letter instead, the first `told` with an event each. What its receiver cannot
    have seen yet stays. Returns how many wait again, and how many are dead letters now.
    """
    not_these = _ids(unseen)
    dead = connection.execute(
        "SELECT id, CAST(sender AS BLOB), attempts FROM messages "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL AND attempts >= ? "
        "AND id NOT IN (SELECT value FROM json_each(?))",
        (recipient, ATTEMPTS, not_these),
    ).fetchall()
    for place, (id, sender, attempts) in enumerate(dead):
        connection.execute("UPDATE messages SET delivered_at = NULL, dead_at = ? WHERE id = ?", (at, id))
        if place < told:
            data = {"id": id, "from": name(sender), "attempts": attempts}
            log.append(connection, at, "message_dead", recipient, data)
    again = connection.execute(
        "UPDATE messages SET delivered_at = NULL "
        "WHERE recipient = ? AND delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL "
        "AND id NOT IN (SELECT value FROM json_each(?))",
        (recipient, not_these),
    ).rowcount
    return again, len(dead)


def mark_read(connection: sqlite3.Connection, recipient: str, up_to: int, at: int, quota: Quota) -> int:
    """Waiting messages up to this id are done without having been handed out."""
    count = connection.execute(
        "UPDATE messages SET delivered_at = ?, acked_at = ? "
        "WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL AND id <= ?",
        (at, at, recipient, up_to),
    ).rowcount
    _prune(connection, recipient, quota)
    return count


def acks(connection: sqlite3.Connection, agent: str) -> bool:
    """Whether a receiver of this inbox has ever acked or requeued; one that never did acks by its next recv."""
    return connection.execute("SELECT 1 FROM receivers WHERE agent = ? AND acks", (agent,)).fetchone() is not None


def note_acks(connection: sqlite3.Connection, agent: str) -> None:
    """From now on only ack_turn acks."""
    connection.execute("INSERT INTO receivers (agent, acks) VALUES (?, 1) ON CONFLICT DO UPDATE SET acks = 1", (agent,))


def count_waiting(connection: sqlite3.Connection, recipient: str) -> int:
    """How many messages wait in one inbox."""
    query = "SELECT count(*) FROM messages WHERE recipient = ? AND delivered_at IS NULL AND dead_at IS NULL"
    return int(connection.execute(query, (recipient,)).fetchone()[0])


def count_all_waiting(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages wait, for each inbox that has any."""
    rows = connection.execute(
        "SELECT CAST(recipient AS BLOB), count(*) FROM messages "
        "WHERE delivered_at IS NULL AND dead_at IS NULL GROUP BY recipient"
    )
    return {name(recipient): count for recipient, count in rows}


def delete(connection: sqlite3.Connection, recipient: str) -> None:
    """Remove an inbox with everything in it, and what is remembered about its receivers and senders."""
    connection.execute("DELETE FROM messages WHERE recipient = ?", (recipient,))
    connection.execute("DELETE FROM message_keys WHERE recipient = ?1 OR sender = ?1", (recipient,))
    connection.execute("DELETE FROM receivers WHERE agent = ?", (recipient,))


def _ids(hand_outs: Iterable[HandOut]) -> str:
    return json.dumps([each.id for each in hand_outs if each.id is not None])


def _prune(connection: sqlite3.Connection, recipient: str, quota: Quota) -> None:
    """Of what is done keep the newest DONE_KEPT messages, and no more bytes than may be open."""
    count, total = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages WHERE recipient = ? AND acked_at IS NOT NULL",
        (recipient,),
    ).fetchone()
    while count > DONE_KEPT or total > quota.size:
        id, size = connection.execute(
            "SELECT id, size FROM messages WHERE recipient = ? AND acked_at IS NOT NULL ORDER BY id LIMIT 1",
            (recipient,),
        ).fetchone()
        connection.execute("DELETE FROM messages WHERE id = ?", (id,))
        count, total = count - 1, total - size
